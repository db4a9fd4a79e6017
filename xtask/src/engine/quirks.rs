#![doc = include_str!("quirks.md")]

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_row_names_files_that_are_there_and_an_origin() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
        let rows: Vec<&str> = include_str!("quirks.md").lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert!(rows.len() > 20);
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [_, _, files, upstream] = cells[..] else { panic!("four cells: {row}") };
            for file in files.split('`').skip(1).step_by(2) {
                assert!(folder.join(file).is_file(), "there is no {file}: {row}");
            }
            assert!(upstream == "measured here" || upstream.contains("](https://"), "{row}");
        }
    }
}
