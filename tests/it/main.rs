//! The whole road through the real doors: HTTP in, bytes in the stores and events out, on the servers of the stack.

mod demo;
mod engine;
mod queue;
