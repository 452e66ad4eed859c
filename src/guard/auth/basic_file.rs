//! A file of users, looked at again and again beside requests.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::watch;
use tokio::time::sleep;

use super::basic_users::{Skipped, Users};

/// How often its content is looked at: nothing else tells for sure that it has changed.
const LOOK: Duration = Duration::from_secs(2);
/// How long what was found changed must stay as it is: a writer may be in the midst of it.
const SETTLED: Duration = Duration::from_millis(100);
/// A longer one is not read.
pub const LONGEST: u64 = 8 << 20;
/// Lines about lines; more are only counted.
const LINES: usize = 10;

/// Who has which password now.
pub type Book = watch::Sender<Arc<Users>>;

/// Tells contents apart.
pub type Sum = [u8; digest::SHA256_OUTPUT_LEN];

/// Of a file's content.
pub fn sum(content: &[u8]) -> Sum {
    let mut sum = Sum::default();
    sum.copy_from_slice(digest::digest(&digest::SHA256, content).as_ref());
    sum
}

/// A file and what was last read of it.
#[derive(Clone, Debug)]
pub struct UserFile {
    /// The scheme's, for the log.
    pub name: Arc<str>,
    /// Where it is.
    pub path: PathBuf,
    /// Of what was last read.
    pub sum: Sum,
}

impl UserFile {
    /// Puts into the book what the file comes to say, until the book is dropped. What cannot be read leaves it as it is.
    pub async fn follow(mut self, book: Weak<Book>) {
        let mut lost = false;
        while book.strong_count() > 0 {
            sleep(LOOK).await;
            let found = match self.look().await {
                Ok(found) => found,
                Err(error) if lost => {
                    tracing::debug!(auth = &*self.name, %error, "still no file of users");
                    continue;
                }
                Err(error) => {
                    let file = self.path.display();
                    tracing::warn!(auth = &*self.name, %file, %error, "the file of users cannot be read: the users last read stay");
                    lost = true;
                    continue;
                }
            };
            if std::mem::take(&mut lost) {
                tracing::info!(auth = &*self.name, "the file of users can be read again");
            }
            let (Some(content), Some(book)) = (found, book.upgrade()) else { continue };
            let (users, skipped) = Users::of_file(&content);
            tracing::info!(
                auth = &*self.name,
                users = users.count(),
                "the file of users has changed"
            );
            complain(&self.name, &skipped);
            book.send_replace(Arc::new(users));
            self.sum = sum(&content);
        }
    }

    /// Something else than was last read, once it stays the same.
    async fn look(&self) -> io::Result<Option<Vec<u8>>> {
        let mut found = read(&self.path).await?;
        if sum(&found) == self.sum {
            return Ok(None);
        }
        loop {
            sleep(SETTLED).await;
            let again = read(&self.path).await?;
            if again == found {
                return Ok(Some(found).filter(|found| sum(found) != self.sum));
            }
            found = again;
        }
    }
}

/// Says which lines were left out.
pub fn complain(auth: &str, skipped: &[Skipped]) {
    for Skipped { line, reason } in skipped.iter().take(LINES) {
        tracing::warn!(auth, line, reason, "a line of the file of users is left out");
    }
    if let more @ 1.. = skipped.len().saturating_sub(LINES) {
        tracing::warn!(auth, more, "more lines of the file of users are left out");
    }
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LONGEST {
            return Err(io::Error::other("it is longer than 8 MiB"));
        }
        Ok(content)
    });
    reading.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
