//! Files under `state_dir`: an opening that names format and version, a checksum, a line break, and what is kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

/// What a file held, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Behind the first line.
    pub body: Vec<u8>,
    /// By the file system.
    pub modified: SystemTime,
}

/// Makes the folder, and tries to write in it.
pub fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let trial = folder.join(format!(".trial-{}", std::process::id()));
    File::create(&trial)?;
    fs::remove_file(&trial)
}

/// Nothing for a file that is not there. The error says in one line why a file cannot be used: among other reasons that
/// it is longer than `longest` bytes.
pub fn read(path: &Path, opening: &str, longest: u64) -> Result<Option<Kept>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let modified = file.metadata().and_then(|about| about.modified()).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > longest {
        return Err(format!("it is longer than {longest} bytes"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let sum = bytes[..end]
        .strip_prefix(opening.as_bytes())
        .ok_or("it is of another version, or no snapshot")?;
    if sum != checksum(&bytes[end + 1..]).as_bytes() {
        return Err("its checksum does not fit: it is damaged".into());
    }
    Ok(Some(Kept { body: bytes.split_off(end + 1), modified }))
}

/// Replaces the file whole: whoever reads it sees the old or the new one, also after a crash. A folder that is gone is
/// made again.
pub fn write(path: &Path, opening: &str, body: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = fresh(path);
    let mut file = File::create(&fresh)?;
    writeln!(file, "{opening}{}", checksum(body))?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// Where a file is written before it takes the place of the one there is. Two gateways may share the folder; what they
/// write at the same time must not mix.
pub fn fresh(path: &Path) -> PathBuf {
    path.with_extension(format!("new-{}", std::process::id()))
}

/// The file's time is now.
pub fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

fn checksum(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
