//! What `perf script` prints, as stacks, a tree and a table.

use std::collections::{BTreeMap, BTreeSet};

/// A function, and whether it is the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) kernel: bool,
}

/// Stacks from the thread to the innermost function, and how often each was seen.
#[derive(Debug, Default)]
pub(crate) struct Stacks(BTreeMap<Vec<Frame>, u64>);

/// A function, how often it or what it calls was seen, and what it calls.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) samples: u64,
    pub(crate) calls: BTreeMap<Frame, Node>,
}

impl Stacks {
    /// A sample is a line with the thread's name, a line for each function from the innermost on, and an empty line.
    pub(crate) fn parse(script: &str) -> Self {
        let mut stacks = Self::default();
        for sample in script.split("\n\n") {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let Some(thread) = lines.next() else { continue };
            let thread = Frame { name: kind_of_thread(thread.trim()), kernel: false };
            let mut stack: Vec<Frame> = lines.filter_map(frame).collect();
            stack.push(thread);
            stack.reverse();
            *stacks.0.entry(stack).or_default() += 1;
        }
        stacks
    }

    pub(crate) fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn tree(&self) -> Node {
        let mut root = Node::default();
        for (stack, samples) in &self.0 {
            let mut node = &mut root;
            node.samples += samples;
            for frame in stack {
                node = node.calls.entry(frame.clone()).or_default();
                node.samples += samples;
            }
        }
        root
    }

    /// The functions that take most themselves, with their share of all samples, and the share of what they call too.
    pub(crate) fn table(&self, lines: usize) -> String {
        let mut alone: BTreeMap<&Frame, u64> = BTreeMap::new();
        let mut with_calls: BTreeMap<&Frame, u64> = BTreeMap::new();
        for (stack, samples) in &self.0 {
            let innermost = stack.last().filter(|_| stack.len() > 1);
            innermost.into_iter().for_each(|frame| *alone.entry(frame).or_default() += samples);
            // A function that calls itself is there once.
            let once: BTreeSet<&Frame> = stack.iter().collect();
            once.into_iter().for_each(|frame| *with_calls.entry(frame).or_default() += samples);
        }
        let mut most: Vec<_> = alone.into_iter().collect();
        most.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
        let share = |samples: u64| samples as f64 / self.samples().max(1) as f64 * 100.0;
        let mut text = String::from("| itself | with what it calls | function |\n|---:|---:|---|\n");
        for (frame, samples) in most.into_iter().take(lines) {
            let kernel = if frame.kernel { " (kernel)" } else { "" };
            let (alone, all) = (share(samples), share(with_calls[frame]));
            text.push_str(&format!("| {alone:.1} % | {all:.1} % | `{}`{kernel} |\n", frame.name));
        }
        text
    }
}

/// Threads of one kind have a number at the end of their name.
fn kind_of_thread(name: &str) -> String {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    if bare.is_empty() { name.to_owned() } else { bare.to_owned() }
}

/// An address, a function and, in brackets at the end, the file that it is of.
fn frame(line: &str) -> Option<Frame> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, file) = rest.rsplit_once(" (")?;
    let name = name.trim();
    let file = file.trim_end_matches(')');
    let kernel = file.starts_with("[kernel") || file.ends_with(".ko");
    let name = match name {
        "[unknown]" => format!("[{}]", file.rsplit('/').next().unwrap_or(file)),
        name => without_hash(name).to_owned(),
    };
    Some(Frame { name, kernel })
}

/// Names as the compiler makes them end in `::h` and sixteen hexadecimal digits.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((bare, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
nbd-3 \n\t  55aa one::inner::h0123456789abcdef (/bin/esker)\n\t  55ab one::outer (/bin/esker)\n
nbd-12 \n\tffff copy ([kernel.kallsyms])\n\t  55ab one::outer (/bin/esker)\n
esker-cpu-0 \n\t  55ac [unknown] (/lib/libc.so.6)\n\n";

    #[test]
    fn threads_of_a_kind_and_functions_without_their_hash_come_together() {
        let stacks = Stacks::parse(SCRIPT);
        assert_eq!(stacks.samples(), 3);
        let tree = stacks.tree();
        let names: Vec<_> =
            tree.calls.iter().map(|(frame, node)| (frame.name.as_str(), node.samples)).collect();
        assert_eq!(names, [("esker-cpu", 1), ("nbd", 2)]);
        let table = stacks.table(9);
        assert!(table.contains("| 33.3 % | 33.3 % | `copy` (kernel) |"), "{table}");
        assert!(table.contains("`one::inner` |") && table.contains("`[libc.so.6]` |"), "{table}");
        assert!(!table.contains("one::outer"), "{table}");
    }
}
