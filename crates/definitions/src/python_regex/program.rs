//! A pattern as a list of instructions, which needs no recursion to be matched. A repetition is a loop with a counter,
//! so that a pattern of a few characters is never a long program.

use std::fmt;

use super::parse::{Class, Flags, Kind, NO_LIMIT, Node, Pattern, Place};

/// Why this program cannot tell whether a text matches; Python may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown(pub &'static str);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unknown {}

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub instructions: Vec<Instruction>,
    /// The starts and ends of groups, counters, and what else is remembered.
    pub slots: usize,
}

/// Numbers are those of instructions, or of slots.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    One(Class),
    At(Place),
    Jump(usize),
    /// Goes on with the first; after a failure, with the second.
    Try(usize, usize),
    /// Remembers the position.
    Mark(usize),
    /// Sets counter and position of a loop.
    Begin {
        counter: usize,
    },
    /// Decides whether the loop's body, the next instruction, runs again.
    Loop {
        counter: usize,
        least: u64,
        most: u64,
        is_lazy: bool,
        end: usize,
    },
    /// Counts one more run of the body; the slot after the counter is where it began.
    Count {
        counter: usize,
    },
    /// Remembers how much has been put off, and the position.
    Hold {
        slot: usize,
    },
    /// Forgets what was put off since. A look-around also goes back to its position.
    Keep {
        slot: usize,
        goes_back: bool,
    },
    /// The same at the begin of a negated look-around: if what follows fails, goes on at `after`.
    Deny {
        slot: usize,
        after: usize,
    },
    /// What must not match has matched.
    Denied {
        slot: usize,
    },
    Back(u64),
    Again(usize, Flags),
    /// Goes on elsewhere if the group has not matched.
    Unless {
        group: usize,
        other: usize,
    },
    Matched,
}

impl Program {
    pub fn of(pattern: &Pattern) -> Self {
        let mut program = Self { instructions: Vec::new(), slots: 2 * pattern.groups };
        program.add(&pattern.root);
        program.put(Instruction::Matched);
        program
    }

    fn put(&mut self, instruction: Instruction) -> usize {
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    fn next(&self) -> usize {
        self.instructions.len()
    }

    fn reserve(&mut self) -> usize {
        self.slots += 2;
        self.slots - 2
    }

    fn add(&mut self, node: &Node) {
        match node {
            Node::All(nodes) => nodes.iter().for_each(|node| self.add(node)),
            Node::Either(nodes) => self.add_alternatives(nodes),
            Node::One(class) => drop(self.put(Instruction::One(class.clone()))),
            Node::At(place) => drop(self.put(Instruction::At(*place))),
            Node::Group(group, node) => {
                // The start counts once the end is there.
                self.put(Instruction::Mark(2 * group));
                self.add(node);
                self.put(Instruction::Mark(2 * group + 1));
            }
            Node::Plain(node) => self.add(node),
            Node::Atomic(node) => self.add_held(|program| program.add(node), false),
            Node::Repeat { node, least, most, kind: Kind::Possessive } => {
                self.add_held(|program| program.add_loop(node, *least, *most, false), false);
            }
            Node::Repeat { node, least, most, kind } => self.add_loop(node, *least, *most, *kind == Kind::Lazy),
            Node::Look { node, behind, negated } => self.add_look(node, *behind, *negated),
            Node::Again(group, flags) => drop(self.put(Instruction::Again(*group, *flags))),
            Node::If(group, yes, no) => {
                let unless = self.put(Instruction::Jump(0));
                self.add(yes);
                let jump = self.put(Instruction::Jump(0));
                self.instructions[unless] = Instruction::Unless { group: *group, other: self.next() };
                self.add(no);
                self.instructions[jump] = Instruction::Jump(self.next());
            }
        }
    }

    fn add_alternatives(&mut self, nodes: &[Node]) {
        let mut jumps = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            if index + 1 == nodes.len() {
                self.add(node);
                break;
            }
            let first = self.put(Instruction::Jump(0));
            self.add(node);
            jumps.push(self.put(Instruction::Jump(0)));
            self.instructions[first] = Instruction::Try(first + 1, self.next());
        }
        let end = self.next();
        jumps.into_iter().for_each(|jump| self.instructions[jump] = Instruction::Jump(end));
    }

    fn add_loop(&mut self, node: &Node, least: u64, most: u64, is_lazy: bool) {
        let counter = self.reserve();
        self.put(Instruction::Begin { counter });
        let decides = self.put(Instruction::Jump(0));
        self.put(Instruction::Count { counter });
        self.add(node);
        self.put(Instruction::Jump(decides));
        let most = if most == NO_LIMIT { u64::MAX } else { most };
        self.instructions[decides] = Instruction::Loop { counter, least, most, is_lazy, end: self.next() };
    }

    fn add_held(&mut self, body: impl FnOnce(&mut Self), goes_back: bool) {
        let slot = self.reserve();
        self.put(Instruction::Hold { slot });
        body(self);
        self.put(Instruction::Keep { slot, goes_back });
    }

    fn add_look(&mut self, node: &Node, behind: Option<u64>, negated: bool) {
        let body = |program: &mut Self| {
            if let Some(width) = behind {
                program.put(Instruction::Back(width));
            }
            program.add(node);
        };
        if !negated {
            return self.add_held(body, true);
        }
        let slot = self.reserve();
        let deny = self.put(Instruction::Jump(0));
        body(self);
        self.put(Instruction::Denied { slot });
        self.instructions[deny] = Instruction::Deny { slot, after: self.next() };
    }
}
