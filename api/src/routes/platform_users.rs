//! Users of the platform, who are not admins of Holdfast: made by the platform's own identity service.

pub mod create;
