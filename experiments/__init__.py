"""Which choice was better, and how sure are we?"""
