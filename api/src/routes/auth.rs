//! Login, refresh, logout, sessions, who am I.

pub mod login;
pub mod logout;
pub mod logout_everywhere;
pub mod me;
pub mod refresh;
pub mod sessions;
