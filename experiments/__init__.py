"""(filled by its first inhabitant)"""
