//! job → event: claims jobs, runs the dump and restore tools, streams the bytes, records and announces what happened.

pub mod engine;
