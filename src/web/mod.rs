//! Pages, feeds, downloads and git over HTTP.
//!
//! Edge: handlers load, ask `view` for what to show, and render. Text of strangers is escaped by the templates; there is no HTML in
//! any handler.

mod assets;
mod authority;
mod base;
mod cache;
mod came_back;
mod copy;
mod enable;
mod feed;
mod git;
mod held;
mod join;
mod landed;
mod limits;
mod list;
mod mbox;
mod me;
mod members;
mod message;
mod page;
mod patches;
mod patchset;
mod problem;
mod queue;
mod range_diff;
mod reading;
mod remarks;
mod routes;
mod search;
mod server;
mod session;
mod settings;
mod sign_in;
mod style;

pub use limits::Limits;
pub use routes::{App, router};
pub use server::{ops_router, serve};
