//! AMQP values (part 1 "types").

mod symbol;
mod value;

pub use symbol::Symbol;
pub use value::{Described, Value};
