//! Listeners shared by all protocols: TCP and unix sockets, limits, TLS, deadlines.
//!
//! Edge: sockets only; what is said over them is decided elsewhere.

mod listener;
mod tls;

pub use listener::{Gate, Listener, Pass, Stream, bind};
pub use tls::Tls;
