//! The roles of an admin.
//!
//! A global role is granted and revoked by a super. A role for one service by an admin of that service, too: to an admin
//! whom they see, and never to themselves. So nobody raises themselves, and nobody gives more than they have. A change acts
//! at once: roles are read with each request.

pub mod create;
pub mod delete;
pub mod list;
