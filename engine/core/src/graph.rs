//! Who reads whom among stream tables.

use std::collections::{BTreeMap, BTreeSet};

/// Stream tables and their direct upstreams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    upstream: BTreeMap<i64, BTreeSet<i64>>,
    consumers: BTreeMap<i64, BTreeSet<i64>>,
}

/// Stream tables that read each other in a ring: each reads the next, the last reads the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<i64>);

impl Graph {
    /// A graph of `nodes`; an edge is `(consumer, upstream)`. Edges to other nodes are ignored.
    pub fn new(nodes: impl IntoIterator<Item = i64>, edges: impl IntoIterator<Item = (i64, i64)>) -> Graph {
        let upstream: BTreeMap<i64, BTreeSet<i64>> =
            nodes.into_iter().map(|node| (node, BTreeSet::new())).collect();
        let mut graph = Graph { consumers: upstream.clone(), upstream };
        for (consumer, upstream) in edges {
            if graph.upstream.contains_key(&consumer) && graph.upstream.contains_key(&upstream) {
                graph.upstream.entry(consumer).or_default().insert(upstream);
                graph.consumers.entry(upstream).or_default().insert(consumer);
            }
        }
        graph
    }

    pub fn nodes(&self) -> impl Iterator<Item = i64> {
        self.upstream.keys().copied()
    }

    /// What a stream table reads directly.
    pub fn upstream(&self, node: i64) -> impl Iterator<Item = i64> {
        self.upstream.get(&node).into_iter().flatten().copied()
    }

    /// What reads a stream table directly.
    pub fn consumers(&self, node: i64) -> impl Iterator<Item = i64> {
        self.consumers.get(&node).into_iter().flatten().copied()
    }

    /// The given stream tables with everything they read, directly or not.
    pub fn with_upstream(&self, nodes: impl IntoIterator<Item = i64>) -> BTreeSet<i64> {
        let mut found = BTreeSet::new();
        let mut open: Vec<i64> = nodes.into_iter().collect();
        while let Some(node) = open.pop() {
            if found.insert(node) {
                open.extend(self.upstream(node));
            }
        }
        found
    }

    /// Levels: a stream table is one above the highest of its upstreams. Members of a level do not read each other.
    pub fn levels(&self) -> Result<Vec<Vec<i64>>, Cycle> {
        let (levels, left) = self.peel();
        if left.is_empty() { Ok(levels) } else { Err(self.ring_within(&left)) }
    }

    /// Every stream table after everything it reads, by id among those that are ready.
    pub fn order(&self) -> Result<Vec<i64>, Cycle> {
        Ok(self.levels()?.concat())
    }

    /// As [`Graph::order`]; what is in or behind a cycle comes last, by id.
    pub fn upstream_first(&self) -> Vec<i64> {
        let (levels, left) = self.peel();
        levels.into_iter().flatten().chain(left).collect()
    }

    /// A cycle, if there is one.
    pub fn cycle(&self) -> Option<Cycle> {
        self.levels().err()
    }

    /// Splits `members` into groups that do not read each other: two are in one group if a path of edges between
    /// members connects them. Groups are ordered by their smallest member.
    pub fn components(&self, members: &BTreeSet<i64>) -> Vec<BTreeSet<i64>> {
        let mut left = members.clone();
        let mut components = Vec::new();
        while let Some(&start) = left.first() {
            let mut component = BTreeSet::new();
            let mut open = vec![start];
            while let Some(node) = open.pop() {
                if left.remove(&node) {
                    component.insert(node);
                    open.extend(self.upstream(node).chain(self.consumers(node)));
                }
            }
            components.push(component);
        }
        components
    }

    /// Takes away level after level; returns the levels and what never became ready.
    fn peel(&self) -> (Vec<Vec<i64>>, BTreeSet<i64>) {
        let mut waiting: BTreeMap<i64, usize> =
            self.upstream.iter().map(|(&node, upstream)| (node, upstream.len())).collect();
        let mut levels = Vec::new();
        let mut level: Vec<i64> = self.nodes().filter(|node| waiting[node] == 0).collect();
        while !level.is_empty() {
            let mut next = BTreeSet::new();
            for &node in &level {
                waiting.remove(&node);
                for consumer in self.consumers(node) {
                    if let Some(count) = waiting.get_mut(&consumer) {
                        *count -= 1;
                        if *count == 0 {
                            next.insert(consumer);
                        }
                    }
                }
            }
            levels.push(level);
            level = next.into_iter().collect();
        }
        (levels, waiting.into_keys().collect())
    }

    /// A ring among nodes each of which has an upstream among them.
    fn ring_within(&self, nodes: &BTreeSet<i64>) -> Cycle {
        let mut path: Vec<i64> = nodes.iter().take(1).copied().collect();
        while let Some(&last) = path.last() {
            let Some(next) = self.upstream(last).find(|node| nodes.contains(node)) else { break };
            if let Some(start) = path.iter().position(|&node| node == next) {
                return Cycle(path.split_off(start));
            }
            path.push(next);
        }
        Cycle(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 <- 2 <- 4, 1 <- 3 <- 4, 5 <- 6.
    fn diamond() -> Graph {
        Graph::new([1, 2, 3, 4, 5, 6], [(2, 1), (3, 1), (4, 2), (4, 3), (6, 5), (6, 99)])
    }

    #[test]
    fn order_puts_upstream_first() {
        assert_eq!(diamond().order(), Ok(vec![1, 5, 2, 3, 6, 4]));
        assert_eq!(diamond().levels(), Ok(vec![vec![1, 5], vec![2, 3, 6], vec![4]]));
        assert_eq!(Graph::default().order(), Ok(vec![]));
    }

    #[test]
    fn closure_and_components() {
        let graph = diamond();
        assert_eq!(graph.with_upstream([4]), BTreeSet::from([1, 2, 3, 4]));
        let members = BTreeSet::from([2, 3, 5, 6]);
        let components = graph.components(&members);
        assert_eq!(components, [BTreeSet::from([2]), BTreeSet::from([3]), BTreeSet::from([5, 6])]);
        let whole = graph.components(&graph.with_upstream([2, 3]));
        assert_eq!(whole, [BTreeSet::from([1, 2, 3])]);
    }

    #[test]
    fn cycle_is_reported_without_what_hangs_on_it() {
        // 2 -> 3 -> 4 -> 2; 1 is upstream of the ring and 5 reads it.
        let graph = Graph::new([1, 2, 3, 4, 5], [(2, 3), (3, 4), (4, 2), (2, 1), (5, 4)]);
        let Err(Cycle(ring)) = graph.order() else { panic!("a cycle") };
        assert_eq!(BTreeSet::from_iter(ring.iter().copied()), BTreeSet::from([2, 3, 4]));
        for pair in ring.windows(2) {
            assert!(graph.upstream(pair[0]).any(|node| node == pair[1]));
        }
        assert_eq!(graph.upstream_first(), [1, 2, 3, 4, 5]);
        assert!(diamond().cycle().is_none());
        assert_eq!(Graph::new([7], [(7, 7)]).cycle(), Some(Cycle(vec![7])));
    }
}
