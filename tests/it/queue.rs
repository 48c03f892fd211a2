//! The queue with real processes: workers are killed, frozen and stopped, PostgreSQL goes away, hints are lost, and each
//! job still ends once and well (research on the queue, design §5; guarantees B).

mod claim;
mod crash;
mod hints;
mod stop;
