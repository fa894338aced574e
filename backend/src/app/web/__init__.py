"""HTML pages for people, in addition to the API for programs."""
