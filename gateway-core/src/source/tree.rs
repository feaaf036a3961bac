//! The nodes of a text, in one arena.
//!
//! In: nodes in the order of the text. Out: the same by [`NodeId`]; an alias is a second use of an id.
//! Deliberately not here: text positions as lines and columns (`Source`).

use std::ops::Index;

/// All nodes of a text. A node only contains nodes that were finished before it, so there are no cycles.
// INVARIANT: the id of a child is smaller than the id of its parent.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

#[derive(Debug)]
pub(super) struct Node {
    /// First byte.
    pub(super) start: u32,
    /// First byte after it.
    pub(super) end: u32,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Box<str>),
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    /// First byte of the key and first byte after it.
    pub(super) key_range: (u32, u32),
    pub(super) value: NodeId,
}

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(
            u32::try_from(self.nodes.len())
                .expect("the number of nodes is limited far below u32::MAX"),
        );
        self.nodes.push(node);
        id
    }

    /// The value of a key, if the node is a map that has it.
    pub(super) fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        let Value::Map(entries) = &self[map].value else { return None };
        entries.iter().find(|entry| &*entry.key == key).map(|entry| entry.value)
    }

    /// The text of a key, if the node is a map that has it as a string.
    pub(super) fn get_str(&self, map: NodeId, key: &str) -> Option<&str> {
        match &self[self.get(map, key)?].value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Index<NodeId> for Tree {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

impl Value {
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }

    /// What a user would call it.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}
