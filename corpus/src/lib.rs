//! Index of the corpora and typed access to their files.
