//! Paths: which page follows which, as a tree from where sessions begin or from one page on.
//!
//! Definition, version 1. Humans only. A session's *trail* is the paths of its page views in the order of
//! `(occurred_at, event_id)`; a path that follows itself (a reload) counts once, and page views without a path are left
//! out. A page view belongs to the last session of its device that began not after it, if that has not ended before.
//! Without a start, trails are taken whole; with one, from the first time that they come to it, and those that never do
//! are left out. A node of the tree is a trail's beginning: its sessions are those whose trail begins like this, its
//! exits those whose trail ends there. Sessions of a node are its exits and the sessions of the nodes below it. Of each
//! level the nodes with most sessions are kept (ties by what is above them, then by path); what is left of a parent's
//! children is its node `(other)`, which has nothing below it.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, RecordBatch};
use datafusion::error::DataFusionError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{events, sessions as column};

use crate::columns::{texts, times};
use crate::intern::{Devices, TextList, Values};

/// Names this definition in answers.
pub const DEFINITION: &str = "paths/1";

/// The page of nodes that stand for several.
pub const OTHER: &str = "(other)";

/// A beginning of trails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The place of the node above it in the list of nodes; none on the first level.
    pub parent: Option<usize>,
    /// Its level, from 1.
    pub level: usize,
    /// Its last page; none if it stands for several.
    pub page: Option<String>,
    /// Sessions that come to it.
    pub sessions: u64,
    /// Sessions that end there.
    pub exits: u64,
}

/// How much of a tree is wanted.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The page with which trails begin; their entry page without it.
    pub start: Option<String>,
    /// Levels, the start's included.
    pub depth: usize,
    /// Nodes of each level besides [`OTHER`].
    pub nodes_per_level: usize,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    device: u32,
    started_us: i64,
    ended_us: i64,
    first_id: u32,
}

#[derive(Debug, Clone, Copy)]
struct View {
    device: u32,
    at_us: i64,
    id: u32,
    page: u32,
}

/// Sessions and page views, from batches in any order.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    devices: Devices,
    sessions: Vec<Session>,
    views: Vec<View>,
    pages: Values,
    ids: TextList,
}

impl Visits {
    /// Takes the sessions of a batch.
    pub fn read_sessions(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let (starts, ends) = (times(batch, column::STARTED_AT)?, times(batch, column::ENDED_AT)?);
        let first_ids = texts(batch, column::FIRST_EVENT_ID)?;
        let (visitors, users) =
            (texts(batch, TextField::VisitorId.column())?, texts(batch, TextField::UserId.column())?);
        for row in 0..batch.num_rows() {
            let device = self.devices.number(visitors, users, row);
            if device != Devices::NOBODY && starts.is_valid(row) && ends.is_valid(row) && first_ids.is_valid(row) {
                self.push_session(device, starts.value(row), ends.value(row), first_ids.value(row));
            }
        }
        Ok(())
    }

    /// Takes the page views of a batch.
    pub fn read_views(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let at = times(batch, events::OCCURRED_AT)?;
        let [ids, paths, visitors, users] =
            [TextField::EventId, TextField::Path, TextField::VisitorId, TextField::UserId]
                .map(|field| texts(batch, field.column()));
        let (ids, paths, visitors, users) = (ids?, paths?, visitors?, users?);
        for row in 0..batch.num_rows() {
            let device = self.devices.number(visitors, users, row);
            if device != Devices::NOBODY && at.is_valid(row) && ids.is_valid(row) && paths.is_valid(row) {
                self.push_view(device, at.value(row), ids.value(row), paths.value(row));
            }
        }
        Ok(())
    }

    /// When the last of the sessions ended, in microseconds since 1970.
    pub fn latest_end_us(&self) -> Option<i64> {
        self.sessions.iter().map(|session| session.ended_us).max()
    }

    fn push_session(&mut self, device: u32, started_us: i64, ended_us: i64, first_id: &str) {
        self.sessions.push(Session { device, started_us, ended_us, first_id: self.ids.push(first_id.as_bytes()) });
    }

    fn push_view(&mut self, device: u32, at_us: i64, id: &str, path: &str) {
        let page = self.pages.number(Some(path));
        self.views.push(View { device, at_us, id: self.ids.push(id.as_bytes()), page });
    }

    /// Bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.devices.size_bytes()
            + self.pages.size_bytes()
            + self.ids.size_bytes()
            + self.sessions.capacity() * size_of::<Session>()
            + self.views.capacity() * size_of::<View>()
    }

    /// The tree of the sessions' trails, level by level.
    pub fn tree(mut self, tree: &Tree) -> Vec<Node> {
        let trails = self.trails();
        let start = tree.start.as_deref().map(|start| self.pages.number(Some(start)));
        let begun = trails.iter().filter_map(|trail| {
            let begin = match start {
                Some(start) => trail.iter().position(|page| *page == start)?,
                None => 0,
            };
            Some(&trail[begin..]).filter(|trail| !trail.is_empty())
        });
        grow(&begun.collect::<Vec<_>>(), &self.pages, tree)
    }

    /// The pages of each session.
    fn trails(&mut self) -> Vec<Vec<u32>> {
        let ids = &self.ids;
        self.sessions.sort_unstable_by(|a, b| {
            let order = (a.device, a.started_us).cmp(&(b.device, b.started_us));
            order.then_with(|| ids.get(a.first_id).cmp(ids.get(b.first_id)))
        });
        self.views.sort_unstable_by(|a, b| {
            (a.device, a.at_us).cmp(&(b.device, b.at_us)).then_with(|| ids.get(a.id).cmp(ids.get(b.id)))
        });
        let mut trails = vec![Vec::new(); self.sessions.len()];
        let mut next = 0;
        for view in &self.views {
            let began = |session: &Session| {
                let order = (session.device, session.started_us).cmp(&(view.device, view.at_us));
                order.then_with(|| ids.get(session.first_id).cmp(ids.get(view.id))).is_le()
            };
            while self.sessions.get(next).is_some_and(began) {
                next += 1;
            }
            let Some(last) = next.checked_sub(1) else { continue };
            let (session, trail) = (&self.sessions[last], &mut trails[last]);
            if session.device == view.device && view.at_us <= session.ended_us && trail.last() != Some(&view.page) {
                trail.push(view.page);
            }
        }
        trails
    }
}

fn grow(trails: &[&[u32]], pages: &Values, tree: &Tree) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    // Trails that the last level shows, with their node there.
    let mut live: Vec<(&[u32], Option<usize>)> = trails.iter().map(|trail| (*trail, None)).collect();
    for level in 0..tree.depth {
        live.retain(|(trail, _)| trail.len() > level);
        let mut counted: HashMap<(Option<usize>, u32), (u64, u64)> = HashMap::new();
        for (trail, parent) in &live {
            let (sessions, exits) = counted.entry((*parent, trail[level])).or_default();
            *sessions += 1;
            *exits += u64::from(trail.len() == level + 1);
        }
        let mut ranked: Vec<_> = counted.into_iter().collect();
        ranked.sort_by(|((parent, page), (sessions, _)), ((other_parent, other_page), (other_sessions, _))| {
            let order = other_sessions.cmp(sessions).then_with(|| parent.cmp(other_parent));
            order.then_with(|| pages.get(*page).cmp(&pages.get(*other_page)))
        });
        let mut kept: HashMap<(Option<usize>, u32), usize> = HashMap::new();
        let mut others: BTreeMap<Option<usize>, (u64, u64)> = BTreeMap::new();
        for (place, ((parent, page), (sessions, exits))) in ranked.into_iter().enumerate() {
            if place < tree.nodes_per_level {
                kept.insert((parent, page), nodes.len());
                let page = pages.get(page).map(str::to_owned);
                nodes.push(Node { parent, level: level + 1, page, sessions, exits });
            } else {
                let other = others.entry(parent).or_default();
                *other = (other.0 + sessions, other.1 + exits);
            }
        }
        let others = others.into_iter();
        nodes.extend(others.map(|(parent, (sessions, exits))| Node {
            parent,
            level: level + 1,
            page: None,
            sessions,
            exits,
        }));
        live.retain_mut(|(trail, node)| {
            let place = kept.get(&(*node, trail[level])).copied();
            *node = place;
            place.is_some()
        });
    }
    nodes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A node as `above > page sessions/exits`.
    fn said(nodes: &[Node]) -> Vec<String> {
        let trail = |node: &Node| {
            let mut trail = vec![node.page.as_deref().unwrap_or(OTHER)];
            let mut parent = node.parent;
            while let Some(place) = parent {
                trail.push(nodes[place].page.as_deref().unwrap_or(OTHER));
                parent = nodes[place].parent;
            }
            trail.reverse();
            trail.join(" > ")
        };
        nodes.iter().map(|node| format!("{} {}/{}", trail(node), node.sessions, node.exits)).collect()
    }

    /// Sessions of devices of their own, each the pages that it views second by second.
    fn visits(sessions: &[&str]) -> Visits {
        let mut visits = Visits::default();
        for (number, pages) in sessions.iter().enumerate() {
            let device = number as u32 + 1;
            let pages: Vec<&str> = pages.split_whitespace().collect();
            visits.push_session(device, 0, pages.len() as i64, "e000");
            for (at_us, page) in pages.iter().enumerate() {
                visits.push_view(device, at_us as i64, &format!("e{at_us:03}"), page);
            }
        }
        visits
    }

    fn check(sessions: &[&str], start: Option<&str>, depth: usize, nodes_per_level: usize, expected: &[&str]) {
        let tree = Tree { start: start.map(str::to_owned), depth, nodes_per_level };
        assert_eq!(said(&visits(sessions).tree(&tree)), expected, "{tree:?}");
    }

    #[test]
    fn trails_become_a_tree() {
        let sessions = ["/ /a /b", "/ /a", "/ / /c", "/a", "/x / /a /a /b /c", "/"];
        check(
            &sessions,
            None,
            3,
            10,
            &[
                "/ 4/1",
                "/a 1/1",
                "/x 1/0",
                "/ > /a 2/1",
                "/ > /c 1/1",
                "/x > / 1/0",
                "/ > /a > /b 1/1",
                "/x > / > /a 1/0",
            ],
        );
        check(&sessions, Some("/"), 3, 10, &["/ 5/1", "/ > /a 3/1", "/ > /c 1/1", "/ > /a > /b 2/1"]);
        check(&sessions, Some("/nowhere"), 3, 10, &[]);
        check(&sessions, None, 2, 1, &["/ 4/1", "(other) 2/1", "/ > /a 2/1", "/ > (other) 1/1"]);
        check(&[], None, 3, 10, &[]);
    }

    #[test]
    fn a_view_belongs_to_the_session_that_it_falls_into() {
        let mut visits = Visits::default();
        for (started_us, ended_us, first_id) in [(10, 20, "a"), (20, 30, "m"), (50, 50, "z")] {
            visits.push_session(1, started_us, ended_us, first_id);
        }
        for (at_us, id, page) in [
            (5, "0", "/before"),
            (10, "a", "/one"),
            // Both sessions hold this instant; the second begins with the event `m`.
            (20, "b", "/two"),
            (20, "m", "/three"),
            (20, "n", "/four"),
            (31, "p", "/between"),
            (50, "z", "/five"),
        ] {
            visits.push_view(1, at_us, id, page);
        }
        visits.push_view(2, 15, "q", "/stranger");
        let tree = Tree { start: None, depth: 3, nodes_per_level: 9 };
        assert_eq!(
            said(&visits.tree(&tree)),
            ["/five 1/1", "/one 1/0", "/three 1/0", "/one > /two 1/1", "/three > /four 1/1"]
        );
    }

    proptest! {
        #[test]
        fn nodes_count_the_trails_that_begin_like_them(
            sessions in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..7), 0..20),
            from_start in any::<bool>(),
            depth in 1..5_usize,
        ) {
            let texts: Vec<String> = sessions.iter().map(|pages| {
                pages.iter().map(|page| format!("/{page}")).collect::<Vec<_>>().join(" ")
            }).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let start = from_start.then(|| "/1".to_owned());
            let trails: Vec<Vec<String>> = sessions.iter().filter_map(|pages| {
                let mut pages: Vec<String> = pages.iter().map(|page| format!("/{page}")).collect();
                pages.dedup();
                let begin = start.as_ref().map_or(Some(0), |start| pages.iter().position(|page| page == start))?;
                Some(pages[begin..].to_vec())
            }).collect();
            let mut expected: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
            for trail in &trails {
                for length in 1..=trail.len().min(depth) {
                    let node = expected.entry(trail[..length].to_vec()).or_default();
                    node.0 += 1;
                    node.1 += u64::from(trail.len() == length);
                }
            }
            let mut expected: Vec<String> = expected.into_iter()
                .map(|(trail, (sessions, exits))| format!("{} {sessions}/{exits}", trail.join(" > "))).collect();
            let tree = Tree { start: start.clone(), depth, nodes_per_level: usize::MAX };
            let mut found = said(&visits(&texts).tree(&tree));
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);

            // However little is shown, nothing is lost.
            let tree = Tree { start, depth, nodes_per_level: 2 };
            let nodes = visits(&texts).tree(&tree);
            let of = |parent: Option<usize>| -> u64 {
                nodes.iter().filter(|node| node.parent == parent).map(|node| node.sessions).sum()
            };
            prop_assert_eq!(of(None), trails.iter().filter(|trail| !trail.is_empty()).count() as u64);
            for (place, node) in nodes.iter().enumerate() {
                if node.page.is_some() && node.level < depth {
                    prop_assert_eq!(node.sessions, node.exits + of(Some(place)));
                }
            }
        }
    }
}
