//! What the files of a crate import from each other. A file is read as tokens, so that comments and
//! texts count for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// `["engine", "images"]` for `crate::engine::images`.
pub type Module = Vec<String>;

/// The keywords behind which a name is defined.
const DEFINING: [&str; 8] = ["struct", "enum", "fn", "trait", "type", "const", "static", "union"];

/// One crate and its files.
pub struct Crate {
    /// Relative to the repository.
    pub folder: PathBuf,
    files: BTreeMap<Module, File>,
    imports: Vec<Import>,
}

/// That a file uses a name of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: Module,
    pub line: usize,
    pub to: Module,
    pub name: String,
}

#[derive(Default)]
struct File {
    path: PathBuf,
    /// Names that `use` brings into a module of this file, by module.
    uses: Vec<Use>,
    /// Paths in code, with the module in which each is.
    paths: Vec<(Module, Module, usize)>,
    /// Single names in code.
    words: BTreeSet<String>,
    defined: BTreeSet<String>,
}

struct Use {
    module: Module,
    path: Module,
    /// What it is called here; `*` for all names.
    name: String,
    public: bool,
    line: usize,
}

impl Crate {
    pub fn read(repository: &Path, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        read_folder(repository, folder, &Vec::new(), &mut files);
        let folder = folder.strip_prefix(repository).expect("a folder of the repository").to_owned();
        let mut read = Self { folder, files, imports: Vec::new() };
        read.imports = read.all_imports();
        read
    }

    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.files.keys()
    }

    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    pub fn describe(&self, import: &Import) -> String {
        let (from, to) = (&self.files[&import.from].path, &self.files[&import.to].path);
        format!("{}:{} imports {} from {}", from.display(), import.line, import.name, to.display())
    }

    /// Sets of files of which each reaches each other, with the imports within.
    pub fn circles(&self) -> Vec<String> {
        let mut reached: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for module in self.files.keys() {
            let mut ahead = vec![module];
            while let Some(next) = ahead.pop() {
                let targets = self.imports.iter().filter(|import| import.from == *next).map(|import| &import.to);
                let known = reached.entry(module).or_default();
                ahead.extend(targets.filter(|target| known.insert(target)));
            }
        }
        let circle_of = |module: &Module| -> BTreeSet<&Module> {
            let ahead = reached.get(module).into_iter().flatten().copied();
            ahead.filter(|other| reached.get(other).is_some_and(|back| back.contains(module))).collect()
        };
        let circles: BTreeSet<BTreeSet<&Module>> = self.files.keys().map(circle_of).collect();
        circles.iter().filter(|circle| !circle.is_empty()).map(|circle| self.describe_circle(circle)).collect()
    }

    fn describe_circle(&self, circle: &BTreeSet<&Module>) -> String {
        let names: Vec<String> = circle.iter().map(|module| self.files[*module].path.display().to_string()).collect();
        let mut edges: BTreeMap<(&Module, &Module), Vec<&Import>> = BTreeMap::new();
        for import in self.imports.iter().filter(|one| circle.contains(&one.from) && circle.contains(&one.to)) {
            edges.entry((&import.from, &import.to)).or_default().push(import);
        }
        let edges = edges.values().map(|imports| {
            let names: Vec<&str> = imports.iter().map(|import| import.name.as_str()).collect();
            let first = Import { name: names.join(", "), ..imports[0].clone() };
            format!("\n    {}", self.describe(&first))
        });
        format!("{}{}", names.join(", "), edges.collect::<String>())
    }

    fn all_imports(&self) -> Vec<Import> {
        let mut imports = BTreeSet::new();
        for (from, file) in &self.files {
            for item in &file.uses {
                let targets = self.resolve(from, &item.module, &item.path, Some(item)).map(|path| self.target(path));
                let Some(Some((to, name))) = targets else { continue };
                let of_child = item.public && to.starts_with(from) && !file.words.contains(&item.name);
                if to != *from && !of_child {
                    imports.insert(Import { from: from.clone(), line: item.line, to, name });
                }
            }
            for (module, path, line) in &file.paths {
                let target = self.resolve(from, module, path, None).and_then(|path| self.target(path));
                if let Some((to, name)) = target.filter(|(to, _)| to != from) {
                    imports.insert(Import { from: from.clone(), line: *line, to, name });
                }
            }
        }
        // One mention of a name suffices.
        let mut seen = BTreeSet::new();
        imports.into_iter().filter(|one| seen.insert((one.from.clone(), one.to.clone(), one.name.clone()))).collect()
    }

    /// The path from the crate's root, if it leads into this crate.
    fn resolve(&self, file: &Module, module: &Module, path: &[String], own: Option<&Use>) -> Option<Module> {
        self.resolve_within(file, module, path, own, 16)
    }

    fn resolve_within(
        &self,
        file: &Module,
        module: &Module,
        path: &[String],
        own: Option<&Use>,
        depth: u8,
    ) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let depth = depth.checked_sub(1)?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let mut rest = rest;
                let mut above = module.get(..module.len().checked_sub(1)?)?;
                while rest.first().is_some_and(|next| next == "super") {
                    (above, rest) = (above.get(..above.len().checked_sub(1)?)?, &rest[1..]);
                }
                Some([above, rest].concat())
            }
            _ => {
                let uses = &self.files[file].uses;
                let bound = uses.iter().find(|item| {
                    item.module == *module && item.name == *first && !own.is_some_and(|own| std::ptr::eq(own, *item))
                });
                if let Some(bound) = bound {
                    let target = self.resolve_within(file, &bound.module, &bound.path, Some(bound), depth)?;
                    return Some([&target, rest].concat());
                }
                let child = [module, std::slice::from_ref(first)].concat();
                self.files.contains_key(&child).then(|| [&child, rest].concat())
            }
        }
    }

    /// The file that defines what is at this path, behind re-exports, and what the path names; `None` if it names a
    /// module alone, which is no more than an abbreviation.
    fn target(&self, path: Module) -> Option<(Module, String)> {
        let (mut path, mut name) = (path, None);
        for _ in 0..16 {
            let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
            let module = path[..length].to_vec();
            let item = path.get(length)?;
            let name = name.get_or_insert_with(|| path[length.saturating_sub(1)..].join("::"));
            match self.reexported(&module, item) {
                Origin::Here => return Some((module, name.clone())),
                Origin::AnotherCrate => return None,
                Origin::Path(next) => path = [&next, &path[length + 1..]].concat(),
            }
        }
        None
    }

    /// Where a file has this name from.
    fn reexported(&self, module: &Module, item: &String) -> Origin {
        let uses = || self.files[module].uses.iter().filter(|one| one.module == *module);
        if let Some(named) = uses().find(|one| one.name == *item) {
            return self.resolve(module, module, &named.path, Some(named)).map_or(Origin::AnotherCrate, Origin::Path);
        }
        let by_glob = uses().filter(|one| one.name == "*").find_map(|all| {
            let source = self.resolve(module, module, &all.path[..all.path.len() - 1], Some(all))?;
            let file = self.files.get(&source)?;
            (file.defined.contains(item) && source != *module).then(|| [&source, std::slice::from_ref(item)].concat())
        });
        by_glob.map_or(Origin::Here, Origin::Path)
    }
}

enum Origin {
    Here,
    AnotherCrate,
    Path(Module),
}

fn read_folder(repository: &Path, folder: &Path, module: &Module, files: &mut BTreeMap<Module, File>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let inner = |name: &str| [module.as_slice(), &[name.to_owned()]].concat();
        if path.is_dir() {
            read_folder(repository, &path, &inner(&name), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            let module = if name == "mod" || name == "lib" { module.clone() } else { inner(&name) };
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(repository).expect("a file of the repository").to_owned();
            let mut file = File { path, ..File::default() };
            file.scan(tokens, &module);
            files.insert(module, file);
        }
    }
}

impl File {
    fn scan(&mut self, tokens: TokenStream, module: &Module) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match (&tokens[at], tokens.get(at + 1), tokens.get(at + 2)) {
                (TokenTree::Ident(word), Some(next), _) if word == "use" && !is_punct(next, '<') => {
                    self.scan_use(&tokens, at, module)
                }
                (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(TokenTree::Group(body)))
                    if word == "mod" =>
                {
                    self.scan(body.stream(), &[module.as_slice(), &[name.to_string()]].concat());
                    at + 3
                }
                (TokenTree::Ident(_), ..) => self.scan_path(&tokens, at, module),
                (TokenTree::Group(group), ..) => {
                    self.scan(group.stream(), module);
                    at + 1
                }
                _ => at + 1,
            };
        }
    }

    /// `a::b::c`; yields the place behind it.
    fn scan_path(&mut self, tokens: &[TokenTree], start: usize, module: &Module) -> usize {
        let mut path = vec![tokens[start].to_string()];
        let mut at = start + 1;
        while let (Some(first), Some(second), Some(TokenTree::Ident(next))) =
            (tokens.get(at), tokens.get(at + 1), tokens.get(at + 2))
            && is_punct(first, ':')
            && is_punct(second, ':')
        {
            path.push(next.to_string());
            at += 3;
        }
        let before = start.checked_sub(1).map(|before| &tokens[before]);
        let follows = |sign| before.is_some_and(|before| is_punct(before, sign));
        // A path that begins with `::` is one of another crate's.
        let external = follows(':') && start >= 2 && is_punct(&tokens[start - 2], ':');
        if let Some(TokenTree::Ident(keyword)) = before
            && DEFINING.iter().any(|defining| keyword == defining)
        {
            self.defined.insert(path[0].clone());
        } else if !follows('.') && !external {
            self.words.insert(path[0].clone());
        }
        if path.len() > 1 && !external {
            self.paths.push((module.clone(), path, tokens[start].span().start().line));
        }
        at
    }

    /// `use …;`; yields the place behind it.
    fn scan_use(&mut self, tokens: &[TokenTree], start: usize, module: &Module) -> usize {
        let length = tokens[start..].iter().position(|token| is_punct(token, ';')).expect("`use` ends with `;`");
        let public = match start.checked_sub(1).map(|before| &tokens[before]) {
            Some(TokenTree::Ident(word)) => word == "pub",
            // `pub(crate) use`
            Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
            _ => false,
        };
        let mut leaves = Vec::new();
        use_tree(&tokens[start + 1..start + length], &Vec::new(), &mut leaves);
        let line = tokens[start].span().start().line;
        for (path, name) in leaves {
            self.uses.push(Use { module: module.clone(), path, name, public, line });
        }
        start + length + 1
    }
}

/// The paths of `a::{b, c as d, e::*}`, and what each is called.
fn use_tree(tokens: &[TokenTree], prefix: &Module, leaves: &mut Vec<(Module, String)>) {
    for branch in tokens.split(|token| is_punct(token, ',')) {
        let mut path = prefix.clone();
        let mut name = None;
        for (at, token) in branch.iter().enumerate() {
            match token {
                // Another crate's for certain.
                TokenTree::Punct(sign) if sign.as_char() == ':' && at == 0 => path.push("::".to_owned()),
                TokenTree::Punct(sign) if sign.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Ident(word) if word == "as" => {
                    name = branch.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    use_tree(&inner, &path, leaves);
                    path.clear();
                }
                _ => {}
            }
        }
        if let Some(last) = path.last().filter(|_| !branch.is_empty()) {
            leaves.push((path.clone(), name.unwrap_or_else(|| last.clone())));
        }
    }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}
