"""A result as a folder that users of Hugging Face's hub know: files under the usual names, ``config.json``, a model card."""

from .folder import extra_files, hub_target

__all__ = ["extra_files", "hub_target"]
