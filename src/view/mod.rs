//! What pages show: text → blocks, diff rows, links. Pure.

pub mod acks;
pub mod diff;
pub mod flowed;
pub mod remark;
pub mod text;
pub mod tree;
pub mod url;
