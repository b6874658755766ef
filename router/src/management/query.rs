//! Answers to QUERY: made in turns of so many rows, because a table may have hundreds of thousands, and whoever makes
//! them has other things to do.
//!
//! Rows are encoded as they are made, and what they are made of is let go of. A client that wants less at a time asks
//! for pages (`offset`, `count`): what is before its page is skipped, not made.

use std::{collections::VecDeque, fmt};

use amqp::{Value, message::Message};
use bytes::{Bytes, BytesMut};

use super::{
    Rows, Source,
    agent::{Refusal, Reply, attribute, attribute_names, entity_types, number},
    entity::{Agent, EntityType, Row},
};

/// Things that are skipped cost as much as one row.
const SKIPPED_FOR_A_ROW: usize = 64;

/// What a QUERY wants to be shown.
pub(super) struct Table {
    /// Columns.
    names: Vec<String>,
    /// Types whose rows are shown, each with the one as which they are shown.
    types: VecDeque<(&'static EntityType, &'static EntityType)>,
    /// Of the type that was first among them.
    rows: Option<(&'static EntityType, Rows<Row>)>,
    /// Rows still to be skipped.
    skip: usize,
    /// Rows still to be shown.
    left: usize,
}

impl Table {
    /// What a request asks for.
    pub(super) fn asked(request: &Message) -> Result<Self, Refusal> {
        let types = entity_types(request)?;
        let asked = attribute_names(request)?;
        let offset = number(request, "offset")?.unwrap_or(0);
        let count = number(request, "count")?
            .filter(|count| *count > 0)
            .unwrap_or(usize::MAX);
        let members = types.iter().flat_map(|entity| {
            let members = entity.members().into_iter();
            members.map(|member| (member, *entity))
        });
        Ok(Self {
            names: columns(&types, asked),
            types: members.collect(),
            rows: None,
            skip: offset,
            left: count,
        })
    }

    /// Gives up to `most` of the next rows to `take`. True once there are no more.
    fn next(&mut self, source: &dyn Source, most: usize, mut take: impl FnMut(Row)) -> bool {
        let mut cost = 0;
        while cost < most {
            if self.left == 0 {
                return true;
            }
            let Some((shown_as, rows)) = &mut self.rows else {
                let Some((next, shown_as)) = self.types.pop_front() else {
                    return true;
                };
                self.rows = Some((shown_as, next.own_rows(source)));
                continue;
            };
            let certain = rows.size_hint().0;
            let skip = self.skip.min(certain);
            if skip > 0 {
                self.skip -= skip;
                cost += skip / SKIPPED_FOR_A_ROW + 1;
                let _last = rows.nth(skip - 1);
                continue;
            }
            cost += 1;
            match rows.next() {
                None => self.rows = None,
                Some(_) if self.skip > 0 => self.skip -= 1,
                Some(row) => {
                    self.left -= 1;
                    take(shown_as.shown(row));
                }
            }
        }
        false
    }
}

/// Names of the columns.
fn columns(types: &[&EntityType], asked: Vec<String>) -> Vec<String> {
    if !asked.is_empty() {
        // the core agent answers the first column for names that it does not know
        let core = matches!(types, [entity] if entity.agent == Agent::Core);
        let known = |name: &str| types.iter().any(|entity| entity.attributes.contains(&name));
        let named = asked.into_iter().map(|name| {
            if core && !known(&name) {
                "name".to_owned()
            } else {
                name
            }
        });
        return named.collect();
    }
    let mut names: Vec<&str> = Vec::new();
    for name in types.iter().flat_map(|entity| entity.attributes) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

/// An answer on its way: its address, and the octets of the message.
#[derive(Debug)]
pub struct Answer {
    /// Where it goes.
    pub to: String,
    /// An AMQP message, in parts.
    pub message: Vec<Bytes>,
}

/// A QUERY that is being answered.
pub struct Query {
    reply: Reply,
    names: Vec<String>,
    table: Table,
    /// Rows, encoded.
    rows: Vec<Bytes>,
    count: usize,
    octets: usize,
    too_large: Option<usize>,
}

impl Query {
    pub(super) fn new(reply: Reply, mut table: Table) -> Self {
        Self {
            reply,
            names: std::mem::take(&mut table.names),
            table,
            rows: Vec::new(),
            count: 0,
            octets: 0,
            too_large: None,
        }
    }

    /// Makes up to `most` rows. True once there are no more to make, or those that there are take more than `limit`
    /// octets: such an answer is a refusal.
    pub fn turn(&mut self, source: &dyn Source, most: usize, limit: usize) -> bool {
        let (mut octets, mut count) = (BytesMut::new(), 0);
        let names = &self.names;
        let done = self.table.next(source, most, |row| {
            let values = names.iter();
            let values = values.map(|name| attribute(&row, name).cloned().unwrap_or_default());
            Value::List(values.collect()).encode(&mut octets);
            count += 1;
        });
        self.count += count;
        self.octets += octets.len();
        if !octets.is_empty() {
            self.rows.push(octets.freeze());
        }
        if self.octets > limit {
            self.rows = Vec::new();
            self.too_large = Some(limit);
        }
        done || self.too_large.is_some()
    }

    /// The answer, after the last turn.
    pub fn answer(self) -> Answer {
        let to = self.reply.to.clone();
        let mut start = BytesMut::new();
        if let Some(limit) = self.too_large {
            let refusal = Refusal::BadRequest(format!(
                "The answer would have more than {limit} octets: ask for it in parts, with count and offset"
            ));
            self.reply.refused(&refusal).encode(&mut start);
        } else {
            let names = self.names.into_iter().map(Value::String);
            let names = (Value::from("attributeNames"), Value::List(names.collect()));
            self.reply.without_body(200, "OK").encode_before_list(
                &[names],
                "results",
                self.count,
                self.octets,
                &mut start,
            );
        }
        let mut message = vec![start.freeze()];
        message.extend(self.rows);
        Answer { to, message }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("reply", &self.reply)
            .field("rows", &self.count)
            .field("octets", &self.octets)
            .finish_non_exhaustive()
    }
}
