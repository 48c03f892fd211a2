//! The whole road through the real doors: HTTP in, bytes in the stores and events out, on the servers of the stack.

mod attempts;
mod chaos;
mod delete;
mod demo;
mod encrypted;
mod engine;
mod events;
mod http;
mod in_place;
mod inventory;
mod laggards;
mod make;
mod mongo;
mod objects;
mod parts;
mod plans;
mod preflight;
mod queue;
mod rebuild;
mod s3;
mod transfer;
mod verify;
