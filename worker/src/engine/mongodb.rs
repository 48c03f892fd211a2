//! `MongoDB`: archives in the format of the `MongoDB` tools, made and read by Holdfast itself.

pub mod archive;
