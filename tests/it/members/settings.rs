//! Settings of members.
