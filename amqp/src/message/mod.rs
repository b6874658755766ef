//! The sections of a message (part 3 §3.2).
//!
//! Forwarding needs no whole message: [`next_section`] and [`section_start`] find the borders of sections in octets
//! that may still be arriving. [`Message`] is for small messages that are made or understood here.

mod header;
mod properties;
pub mod section;
mod whole;

pub use header::Header;
pub use properties::Properties;
pub use section::{
    Section, SectionStart, next_section, section_start, write_data_header, write_section,
};
pub use whole::{Body, Message};
