//! Reports as text: trees, tables, sentences. Pure; the commands decide where the text goes.

pub(crate) mod columns;
pub(crate) mod link;
pub(crate) mod service;
pub(crate) mod site;
pub(crate) mod tree;
