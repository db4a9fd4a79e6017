//! Choosing the server's Ubuntu image.

use anyhow::{Context, Result};

use crate::NODE_DEFINITION;
use cml::api::definitions::Image;
use text::printable_line;

/// The image definition with that id; without an id, the newest Ubuntu 24.04. The error lists those that there are.
pub fn choose<'a>(images: &'a [Image], asked: Option<&str>, server: &str) -> Result<&'a Image> {
    if let Some(id) = asked {
        let named = images.iter().find(|image| image.id == id);
        let missing = || format!("{server} has no image definition `{}`; {}", printable_line(id), there_are(images));
        return named.with_context(missing);
    }
    let fitting = ubuntus(images).filter(|image| is_noble(image));
    fitting.max_by_key(|image| numbers(&image.id)).with_context(|| {
        format!(
            "{server} has no image of Ubuntu 24.04; {}\nInstall the one from Cisco's reference platform images, or \
             choose another image with --image-definition",
            there_are(images)
        )
    })
}

fn there_are(images: &[Image]) -> String {
    let ids: Vec<String> = ubuntus(images).map(|image| printable_line(&image.id)).collect();
    match ids.len() {
        0 => "there is none for the node definition `ubuntu`".to_owned(),
        _ => format!("for the node definition `ubuntu` there are: {}", ids.join(", ")),
    }
}

fn ubuntus(images: &[Image]) -> impl Iterator<Item = &Image> {
    images.iter().filter(|image| image.node_definition_id == NODE_DEFINITION)
}

/// Cisco's ids look like `ubuntu-24-04-20250503`. Images that people add themselves may be named in other ways.
fn is_noble(image: &Image) -> bool {
    let text = format!("{} {}", image.id, image.label).to_lowercase();
    ["24-04", "24.04", "2404", "noble"].iter().any(|name| text.contains(name))
}

/// The numbers in an id. A later date compares as greater.
fn numbers(id: &str) -> Vec<u64> {
    id.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(ids: &[&str]) -> Vec<Image> {
        let image = |id: &&str| Image { id: (*id).into(), node_definition_id: "ubuntu".into(), ..Image::default() };
        ids.iter().map(image).collect()
    }

    #[test]
    fn the_newest_ubuntu_24_04_is_chosen_by_date_and_not_alphabetically() {
        let there =
            images(&["ubuntu-24-04-20250503", "ubuntu-24-04-20251201", "ubuntu-24-04", "ubuntu-25-10-20260101"]);
        assert_eq!(choose(&there, None, "cml").unwrap().id, "ubuntu-24-04-20251201");
        let other =
            Image { id: "ubuntu-24-04-20270101".into(), node_definition_id: "desktop".into(), ..Image::default() };
        assert_eq!(choose(&[there, vec![other]].concat(), None, "cml").unwrap().id, "ubuntu-24-04-20251201");
        assert_eq!(choose(&images(&["noble-2", "noble-10"]), None, "cml").unwrap().id, "noble-10");
    }

    #[test]
    fn an_error_names_what_is_missing_and_what_is_there() {
        let there = images(&["ubuntu-22-04-20240126"]);
        let said = choose(&there, Some("ubuntu-24-04-x"), "cml").unwrap_err().to_string();
        assert!(said.contains("`ubuntu-24-04-x`") && said.contains("ubuntu-22-04-20240126"), "{said}");
        let said = choose(&there, None, "cml").unwrap_err().to_string();
        assert!(said.contains("Ubuntu 24.04") && said.contains("ubuntu-22-04-20240126"), "{said}");
        let said = choose(&[], None, "cml").unwrap_err().to_string();
        assert!(said.contains("there is none"), "{said}");
    }
}
