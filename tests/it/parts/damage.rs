//! Damaged archives against every kind of part.
