//! Compares a text with a pattern, by trying and going back as Python does.

use super::parse::{Class, Flags, Place};
use super::program::{Instruction, Program, Unknown};

/// More than any sensible pattern needs for the longest console that is looked at; a fraction of a second.
const MOST_STEPS: u64 = 5_000_000;

/// The most that may be put off at the same time: 24 bytes each.
const MOST_PUT_OFF: usize = 1 << 20;

const TOO_LONG: &str = "comparing it with this text takes too many steps";

/// A slot that has no value.
const NONE: u64 = u64::MAX;

/// What is done after a failure, the last first.
enum PutOff {
    Go { at: usize, position: usize },
    Restore { slot: usize, value: u64 },
}

struct Matcher<'a> {
    text: &'a [char],
    slots: Vec<u64>,
    put_off: Vec<PutOff>,
    at: usize,
    position: usize,
    /// How many more are taken.
    steps: u64,
}

pub(super) fn search(program: &Program, text: &str) -> Result<bool, Unknown> {
    let text: Vec<char> = text.chars().collect();
    let slots = vec![NONE; program.slots];
    let mut matcher = Matcher { text: &text, slots, put_off: Vec::new(), at: 0, position: 0, steps: MOST_STEPS };
    for position in 0..=text.len() {
        // After a failure, the slots are as before it.
        (matcher.at, matcher.position) = (0, position);
        if matcher.run(program)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Matcher<'_> {
    /// Whether the program matches at this position.
    fn run(&mut self, program: &Program) -> Result<bool, Unknown> {
        loop {
            self.count(1);
            if self.steps == 0 || self.put_off.len() > MOST_PUT_OFF {
                return Err(Unknown(TOO_LONG));
            }
            let instruction = &program.instructions[self.at];
            if matches!(instruction, Instruction::Matched) {
                return Ok(true);
            }
            self.at += 1;
            if !self.step(instruction) && !self.go_back() {
                return Ok(false);
            }
        }
    }

    fn count(&mut self, steps: usize) {
        self.steps = self.steps.saturating_sub(steps as u64);
    }

    /// Goes on where something was put off; false if nothing was.
    fn go_back(&mut self) -> bool {
        while let Some(put_off) = self.put_off.pop() {
            match put_off {
                PutOff::Restore { slot, value } => self.slots[slot] = value,
                PutOff::Go { at, position } => {
                    (self.at, self.position) = (at, position);
                    return true;
                }
            }
        }
        false
    }

    fn set(&mut self, slot: usize, value: u64) {
        self.put_off.push(PutOff::Restore { slot, value: self.slots[slot] });
        self.slots[slot] = value;
    }

    fn put_off(&mut self, at: usize) {
        self.put_off.push(PutOff::Go { at, position: self.position });
    }

    /// Whether the instruction succeeds.
    fn step(&mut self, instruction: &Instruction) -> bool {
        match instruction {
            Instruction::One(class) => match self.text.get(self.position) {
                Some(c) if has(class, *c) => self.position += 1,
                _ => return false,
            },
            Instruction::At(place) => return self.is_at(*place),
            Instruction::Jump(to) => self.at = *to,
            Instruction::Try(first, second) => {
                self.put_off(*second);
                self.at = *first;
            }
            Instruction::Mark(slot) => self.set(*slot, self.position as u64),
            Instruction::Begin { counter } => {
                self.set(*counter, 0);
                self.set(counter + 1, NONE);
            }
            Instruction::Loop { counter, least, most, is_lazy, end } => {
                self.repeat(*counter, (*least, *most), *is_lazy, *end);
            }
            Instruction::Count { counter } => {
                self.set(*counter, self.slots[*counter] + 1);
                self.set(counter + 1, self.position as u64);
            }
            Instruction::Hold { slot } => self.hold(*slot),
            Instruction::Keep { slot, goes_back } => self.keep(*slot, *goes_back),
            Instruction::Deny { slot, after } => {
                self.hold(*slot);
                self.put_off(*after);
            }
            Instruction::Denied { slot } => {
                self.forget(*slot);
                return false;
            }
            Instruction::Back(width) => {
                let back = usize::try_from(*width).ok().and_then(|width| self.position.checked_sub(width));
                let Some(position) = back else { return false };
                self.position = position;
            }
            Instruction::Again(group, flags) => return self.again(*group, *flags),
            Instruction::Unless { group, other } if self.group(*group).is_none() => self.at = *other,
            Instruction::Unless { .. } | Instruction::Matched => {}
        }
        true
    }

    fn hold(&mut self, slot: usize) {
        self.set(slot + 1, self.position as u64);
        self.set(slot, NONE);
        self.slots[slot] = self.put_off.len() as u64;
    }

    /// How much had been put off at [`Self::hold`].
    fn held(&self, slot: usize) -> usize {
        usize::try_from(self.slots[slot]).unwrap_or_default()
    }

    /// What was matched since stays as it is.
    fn keep(&mut self, slot: usize, goes_back: bool) {
        let since = self.put_off.split_off(self.held(slot));
        self.count(since.len());
        self.put_off.extend(since.into_iter().filter(|put_off| matches!(put_off, PutOff::Restore { .. })));
        if goes_back {
            self.position = usize::try_from(self.slots[slot + 1]).unwrap_or_default();
        }
    }

    /// Undoes everything since.
    fn forget(&mut self, slot: usize) {
        let held = self.held(slot);
        while self.put_off.len() > held {
            if let Some(PutOff::Restore { slot, value }) = self.put_off.pop() {
                self.slots[slot] = value;
            }
        }
    }

    /// The body is the next instruction. It does not run again where it has matched nothing.
    fn repeat(&mut self, counter: usize, (least, most): (u64, u64), is_lazy: bool, end: usize) {
        let (count, began) = (self.slots[counter], self.slots[counter + 1]);
        if count < least {
            // Runs again.
        } else if count >= most || began == self.position as u64 {
            self.at = end;
        } else if is_lazy {
            self.put_off(self.at);
            self.at = end;
        } else {
            self.put_off(end);
        }
    }

    fn group(&self, group: usize) -> Option<&[char]> {
        let [start, end] = [2 * group, 2 * group + 1].map(|slot| usize::try_from(self.slots[slot]).ok());
        self.text.get(start?..end?)
    }

    fn again(&mut self, group: usize, flags: Flags) -> bool {
        let Some(text) = self.group(group) else { return false };
        let (length, rest) = (text.len(), &self.text[self.position..]);
        let is_same = |(one, other): (&char, &char)| {
            one == other || (flags.ignore_case && folded(*one, flags) == folded(*other, flags))
        };
        let is_again = rest.len() >= length && text.iter().zip(rest).all(is_same);
        self.count(length);
        self.position += if is_again { length } else { 0 };
        is_again
    }

    fn is_at(&self, place: Place) -> bool {
        let (text, position) = (self.text, self.position);
        let before = position.checked_sub(1).map(|before| text[before]);
        let after = text.get(position).copied();
        match place {
            Place::TextStart => before.is_none(),
            Place::TextEnd => after.is_none(),
            Place::LastLineEnd => after.is_none() || (after == Some('\n') && position + 1 == text.len()),
            Place::LineStart => before.is_none_or(|c| c == '\n'),
            Place::LineEnd => after.is_none_or(|c| c == '\n'),
            // Before Python 3.14, an empty text has neither.
            Place::WordEdge(_) | Place::NoWordEdge(_) if text.is_empty() => false,
            Place::WordEdge(flags) => is_word(before, flags) != is_word(after, flags),
            Place::NoWordEdge(flags) => is_word(before, flags) == is_word(after, flags),
        }
    }
}

fn is_word(c: Option<char>, flags: Flags) -> bool {
    c.is_some_and(|c| is_in('w', c, flags))
}

/// The letter in lower case, if that is one letter, too.
fn folded(c: char, flags: Flags) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        _ if flags.ascii => c.to_ascii_lowercase(),
        (Some(lower), None) => lower,
        _ => c,
    }
}

fn has(class: &Class, c: char) -> bool {
    let is_in_ranges = |c: char| class.ranges.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)));
    let is_in_other_case = |c: char| {
        let lower = folded(c, class.flags);
        let mut upper = c.to_uppercase();
        let upper = match (upper.next(), upper.next()) {
            _ if class.flags.ascii => c.to_ascii_uppercase(),
            (Some(upper), None) => upper,
            _ => c,
        };
        is_in_ranges(lower) || is_in_ranges(upper)
    };
    let is_in_set = is_in_ranges(c)
        || class.categories.iter().any(|category| is_in(*category, c, class.flags))
        || (class.flags.ignore_case && is_in_other_case(c));
    is_in_set != class.negated
}

fn is_in(category: char, c: char, flags: Flags) -> bool {
    let is_in = match category.to_ascii_lowercase() {
        'd' if flags.ascii => c.is_ascii_digit(),
        'd' => c.is_numeric() && (c.is_ascii() || !c.is_alphabetic()),
        's' if flags.ascii => matches!(c, ' ' | '\t'..='\r'),
        's' => c.is_whitespace() || ('\x1c'..='\x1f').contains(&c),
        _ if flags.ascii => c.is_ascii_alphanumeric() || c == '_',
        _ => c.is_alphanumeric() || c == '_',
    };
    is_in != category.is_ascii_uppercase()
}
