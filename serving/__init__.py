"""What every page that fmsel serves shares: who may read it, and how it is started and stopped."""

from fmsel.serving.access import Access
from fmsel.serving.app import refusal, secure_app
from fmsel.serving.run import listen, serve, stable_port

__all__ = ["Access", "listen", "refusal", "secure_app", "serve", "stable_port"]
