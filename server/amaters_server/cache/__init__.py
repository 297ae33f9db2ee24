"""Answers of Filter and Range that are kept while nothing in their range changes."""

from amaters_server.cache.results import Asked, CacheCounts, Question, ResultCache

__all__ = ["Asked", "CacheCounts", "Question", "ResultCache"]
