"""The JSON API under `/api`: everything that the pages do, for programs with a token. Times are UTC seconds."""
