//! Small tar files, packed in memory.

use std::io;

/// A tar file of these files, which belong to root and can be read by all.
pub fn pack<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<Vec<u8>> {
    pack_for(0, files)
}

/// The same for a user and the group of that number.
pub fn pack_for<'a>(user: u32, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(user.into());
        header.set_gid(user.into());
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content)?;
    }
    tar.into_inner()
}
