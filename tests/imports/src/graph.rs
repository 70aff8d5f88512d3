//! Circles in a directed graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A graph: the nodes that each node has an edge to.
pub(crate) type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// The sets of two nodes and more in which each can be reached from every other one.
pub(crate) fn components(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|&node| (node, reachable(graph, node))).collect();
    let mut components = Vec::new();
    let mut done = BTreeSet::new();
    for (&node, from_node) in &reach {
        let leads_back = |other: &usize| reach.get(other).is_some_and(|set| set.contains(&node));
        let component: BTreeSet<_> = from_node.iter().copied().filter(leads_back).collect();
        if component.len() > 1 && done.insert(node) {
            done.extend(&component);
            components.push(component);
        }
    }
    components
}

fn reachable(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = targets(graph, from).collect();
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(targets(graph, node));
        }
    }
    reached
}

fn targets(graph: &Graph, node: usize) -> impl Iterator<Item = usize> {
    graph.get(&node).into_iter().flatten().copied()
}

/// The part of a graph that is among these nodes.
pub(crate) fn within(graph: &Graph, nodes: &BTreeSet<usize>) -> Graph {
    let inside = graph.iter().filter(|(node, _)| nodes.contains(node));
    inside.map(|(&node, targets)| (node, targets & nodes)).collect()
}

/// A shortest circle within a component: each node has an edge to the next, and the last to the first.
pub(crate) fn shortest_circle(graph: &Graph, component: &BTreeSet<usize>) -> Vec<usize> {
    let inside = within(graph, component);
    let circles = component.iter().filter_map(|&node| path_back(&inside, node));
    circles.min_by_key(Vec::len).unwrap_or_default()
}

/// A shortest way from a node to itself.
fn path_back(graph: &Graph, start: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in targets(graph, node) {
            if next == start {
                let mut path: Vec<_> =
                    std::iter::successors(Some(node), |node| came_from.get(node).copied())
                        .collect();
                path.reverse();
                return Some(path);
            }
            came_from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                node
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new();
        for &(from, to) in edges {
            graph.entry(from).or_default().insert(to);
        }
        graph
    }

    #[test]
    fn a_graph_without_a_circle_has_no_component() {
        assert!(components(&graph(&[(1, 2), (2, 3), (1, 3)])).is_empty());
    }

    #[test]
    fn each_circle_is_in_one_component() {
        let graph = graph(&[(1, 2), (2, 3), (3, 1), (3, 4), (5, 6), (6, 5), (2, 1)]);
        let components = components(&graph);
        assert_eq!(components, [BTreeSet::from([1, 2, 3]), BTreeSet::from([5, 6])]);
        assert_eq!(shortest_circle(&graph, &components[0]), [1, 2]);
        assert_eq!(shortest_circle(&graph, &components[1]), [5, 6]);
    }

    #[test]
    fn a_circle_of_many_is_given_in_order() {
        let graph = graph(&[(1, 7), (7, 4), (4, 1)]);
        let components = components(&graph);
        assert_eq!(shortest_circle(&graph, &components[0]), [1, 7, 4]);
    }
}
