//! The corpus of bad tokens is added with the HTTP tests; see below.
