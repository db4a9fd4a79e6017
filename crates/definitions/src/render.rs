//! From templates to definitions.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::check;
use crate::finding::Finding;
use crate::lint::{self, ImageFile, Subject, Surroundings};
use crate::template::{self, Facts, Rendered, Templates};
use digests::Digest;
use files::Tree;

/// Both definitions of a node, as text.
#[derive(Debug)]
pub struct Definitions {
    pub node: String,
    pub image: String,
    rendered: [Rendered; 2],
}

/// Stands for the image ID in definitions that are rendered before the image exists.
pub fn unknown_image_id() -> Digest {
    Digest::of("not known yet")
}

impl Definitions {
    /// These definitions with an image ID instead of [`unknown_image_id`], with which they were rendered. Fails if a
    /// template uses only a part of the image ID, which cannot be filled in afterwards.
    pub fn with_image_id(mut self, image_id: &Digest) -> Result<Self> {
        let unknown = unknown_image_id();
        let digits = unknown.hex();
        let has_a_part = |text: &str| (0..digits.len() - 8).any(|at| text.contains(&digits[at..at + 8]));
        for (text, rendered) in [&mut self.node, &mut self.image].into_iter().zip(&mut self.rendered) {
            *text = text.replace(digits, image_id.hex());
            let is_whole = !has_a_part(&text.to_lowercase());
            anyhow::ensure!(is_whole, "{}: `image_id` cannot be used in part", rendered.path.display());
            rendered.set_text(text.clone());
        }
        Ok(self)
    }

    /// The findings of `lint` in both, given the files that the image is made of, if they are known.
    pub fn lint(&self, image_files: Option<Vec<ImageFile>>) -> Vec<Placed> {
        let mut files = image_files;
        let subjects = self.rendered.each_ref().map(|rendered| Subject {
            document: &rendered.document,
            around: Surroundings { image_files: files.take(), ..Surroundings::default() },
        });
        let findings = lint::judge(&subjects, &[]);
        let mut placed = Vec::new();
        for (rendered, findings) in self.rendered.iter().zip(findings) {
            placed.extend(findings.into_iter().map(|mut finding| {
                let (file, at) = rendered.place(finding.at);
                finding.at = at;
                Placed { file, kind: rendered.document.definition.kind(), finding }
            }));
        }
        placed
    }

    /// The templates of both.
    pub fn templates(&self) -> [&Path; 2] {
        [&self.rendered[0].path, &self.rendered[1].path]
    }
}

/// Renders the two definitions of the node that `facts` describe. Fails, with file and line, if a template is wrong or
/// renders to something other than a definition of this node.
pub fn render(repository: &Path, node_template: &str, image_template: &str, facts: &Facts<'_>) -> Result<Definitions> {
    let tree = Tree::at(repository);
    let render = |folder: &str, template: &str, context, explain: fn(anyhow::Error) -> anyhow::Error| {
        let folder = repository.join(folder);
        let render = || Templates::load(&tree, &folder, template)?.render(context).map_err(explain);
        templates::watched(&folder.join(template).display().to_string(), render)?
    };
    let explain_node = if facts.shared.is_some() { template::explained } else { |error| error };
    let node = render("node-definitions", node_template, facts.for_node(), explain_node)?;
    check::node_definition(&node, facts)?;
    let image = render("image-definitions", image_template, facts.for_image(), |error| error)?;
    check::image_definition(&image, facts)?;
    Ok(Definitions { node: node.text.clone(), image: image.text.clone(), rendered: [node, image] })
}

/// A finding in a rendered definition, with its place in a template.
#[derive(Clone, Debug)]
pub struct Placed {
    pub file: PathBuf,
    pub kind: &'static str,
    pub finding: Finding,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::template::SharedNode;

    const NODE: &str = r#"id: {{ id }}
configuration:
  provisioning:
    files:
      - name: config.json
        content: |
          {"docker": {"image": "{{ image }}", "env": ["{% raw %}{{ dev (index .Devices 0).DeviceName }}{% endraw %}"]}}
ui:
  label: {{ label | json }}
"#;
    const IMAGE: &str =
        "id: {{ id }}\nnode_definition_id: {{ id }}\ndisk_image: {{ archive }}\nsha256: {{ image_id }}\n";

    fn rendered(node: &str, image: &str) -> Result<Definitions> {
        rendered_for(node, image, &Digest::of("config"))
    }

    fn rendered_for(node: &str, image: &str, image_id: &Digest) -> Result<Definitions> {
        rendered_as(node, image, image_id, None)
    }

    fn rendered_as(node: &str, image: &str, image_id: &Digest, shared: Option<SharedNode<'_>>) -> Result<Definitions> {
        let root = tempfile::tempdir().unwrap();
        for (folder, text) in [("node-definitions", node), ("image-definitions", image)] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("t.yaml"), text).unwrap();
        }
        let facts = Facts {
            id: "tiny-1-0",
            image: "tiny:1.0",
            image_id,
            archive: "tiny-1-0.tar.gz",
            node: "tiny",
            variant: "only",
            version: "1.0",
            label: "Tiny: 1.0",
            title: "Tiny",
            description: "",
            switches: &BTreeMap::new(),
            shared,
        };
        render(root.path(), "t.yaml", "t.yaml", &facts)
    }

    const BOTH_NODE: &str = r#"id: {{ id }}
configuration:
  provisioning:
    files:
      - name: config.json
        content: |
          {"docker": {% if shared %}{}{% else %}{"image": "{{ image }}"}{% endif %}}
ui:
  label: {{ label | json }}
"#;
    const BOTH_IMAGE: &str = "id: {{ id }}\nnode_definition_id: {{ node_id }}\ndisk_image: {{ archive }}\n\
                              {% if shared %}docker_tag: {{ image }}\n{% endif %}sha256: {{ image_id }}\n";

    fn shared(node: &str, image: &str) -> Result<Definitions> {
        rendered_as(node, image, &Digest::of("config"), Some(SharedNode { id: "tiny", label: "Tiny" }))
    }

    #[test]
    fn one_template_renders_a_node_of_its_own_and_a_shared_one() {
        let own = rendered(BOTH_NODE, BOTH_IMAGE).unwrap();
        assert!(own.node.contains("id: tiny-1-0\n") && own.node.contains(r#"{"image": "tiny:1.0"}"#), "{}", own.node);
        assert!(own.image.contains("node_definition_id: tiny-1-0\n") && !own.image.contains("docker_tag"));
        let shared = shared(BOTH_NODE, BOTH_IMAGE).unwrap();
        assert!(shared.node.starts_with("id: tiny\n") && shared.node.contains("label: \"Tiny\""), "{}", shared.node);
        assert!(!shared.node.contains("1.0"), "{}", shared.node);
        assert!(shared.image.starts_with("id: tiny-1-0\nnode_definition_id: tiny\n"), "{}", shared.image);
        assert!(shared.image.contains("docker_tag: tiny:1.0\n"), "{}", shared.image);
    }

    #[test]
    fn a_shared_node_definition_can_have_nothing_of_one_version() {
        let said = |node: &str, image: &str| format!("{:#}", shared(node, image).unwrap_err());
        for name in ["version", "variant", "image", "image_id", "archive"] {
            let node = BOTH_NODE.replace("{{ label | json }}", &format!("'{{{{ {name} }}}}'"));
            let said = said(&node, BOTH_IMAGE);
            assert!(said.contains(name) && said.contains("t.yaml:9"), "{said}");
            let why = format!("`{name}` differs between the versions that share this node definition");
            assert!(said.contains(&why) && said.contains("{% if not shared %}"), "{said}");
        }
        let pinned = BOTH_NODE.replace("{% if shared %}{}", "{% if shared %}{\"image\": \"tiny:1.0\"}");
        assert!(said(&pinned, BOTH_IMAGE).contains("all versions share it"));
        assert!(said(BOTH_NODE, &BOTH_IMAGE.replace("docker_tag: {{ image }}\n", "")).contains("`docker_tag`"));
        assert!(said(BOTH_NODE, &BOTH_IMAGE.replace("node_id", "id")).contains("it must be `tiny`"));
    }

    fn complaint(node: &str, image: &str) -> String {
        format!("{:#}", rendered(node, image).unwrap_err())
    }

    #[test]
    fn go_template_actions_survive_and_strings_are_quoted() {
        let definitions = rendered(NODE, IMAGE).unwrap();
        assert!(definitions.node.contains("{{ dev (index .Devices 0).DeviceName }}"), "{}", definitions.node);
        assert!(definitions.node.contains(r#"label: "Tiny: 1.0""#));
        assert!(definitions.image.contains(&format!("sha256: {}", Digest::of("config"))));
    }

    #[test]
    fn the_image_id_is_filled_in_afterwards_but_only_as_a_whole() {
        let id = Digest::of("another config");
        let known = rendered_for(NODE, IMAGE, &id).unwrap();
        let filled_in = rendered_for(NODE, IMAGE, &unknown_image_id()).unwrap().with_image_id(&id).unwrap();
        assert_eq!((filled_in.node, filled_in.image), (known.node, known.image));
        let part = format!("{IMAGE}label: '{{{{ image_id | upper | truncate(length=12) }}}}'\n");
        let error = rendered_for(NODE, &part, &unknown_image_id()).unwrap().with_image_id(&id).unwrap_err();
        assert!(format!("{error}").contains("`image_id` cannot be used in part"), "{error}");
    }

    #[test]
    fn a_template_that_is_broken_is_shown_with_its_line() {
        let said = complaint(&NODE.replace("{{ label | json }}", "{{ label | json"), IMAGE);
        assert!(said.contains("node-definitions") && said.contains("t.yaml:9"), "{said}");
        let said = complaint(&NODE.replace("label | json", "lable | json"), IMAGE);
        assert!(said.contains("lable") && said.contains("t.yaml:9"), "{said}");
    }

    #[test]
    fn each_mistake_in_a_template_has_its_place_in_one_form() {
        for (wrong, said) in [
            ("{% if %}", "expected one of"),
            ("{{ id", "end of input"),
            ("{{ id | nofilter }}", "unknown filter `nofilter`"),
            ("{{ nofunction() }}", "unknown function `nofunction`"),
            ("{% include \"nofile.yaml\" %}", "unknown template `nofile.yaml`"),
            ("{% include \"t.yaml\" %}", "it includes itself: t.yaml, t.yaml"),
        ] {
            let error = complaint(&format!("{NODE}  {wrong}\n"), IMAGE);
            let (place, text) = error.split_once(": ").unwrap();
            assert!(place.contains("node-definitions/t.yaml:10:") || place.contains("t.yaml:11:"), "{wrong}: {error}");
            assert!(text.to_lowercase().contains(said) && !text.contains("-->"), "{wrong}: {error}");
        }
    }

    #[test]
    fn yaml_that_is_broken_points_back_into_the_template() {
        let said = complaint(&NODE.replace("ui:", "ui: ["), IMAGE);
        assert!(said.contains("t.yaml"), "{said}");
        let said = complaint(&format!("{NODE}  broken: 'x\n"), IMAGE);
        assert!(said.contains("t.yaml:10"), "{said}");
    }

    #[test]
    fn a_definition_of_something_else_is_refused() {
        assert!(
            complaint(&NODE.replace("id: {{ id }}", "id: frr"), IMAGE).contains("`id` is `frr`, it must be `tiny-1-0`")
        );
        assert!(complaint(&NODE.replace("{{ image }}", "frr:1"), IMAGE).contains("docker.image"));
        assert!(complaint(&NODE.replace("\"env\"", "env"), IMAGE).contains("config.json is not JSON"));
        assert!(complaint(NODE, &IMAGE.replace("{{ image_id }}", "0000")).contains("`sha256`"));
        assert!(complaint(NODE, &IMAGE.replace("disk_image: {{ archive }}\n", "")).contains("`disk_image` is missing"));
    }
}
