//! Instances that take their time: `slow SERVERS MILLISECONDS PLACES` prints the port of each and serves until its input ends.
//!
//! Each does so many requests at a time, each in so many milliseconds of sleep; more wait. The last of them takes ten
//! times as long. It costs next to no processor time, so that what is measured is who is asked.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the shell that sleeps by the clock, which is its whole purpose"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How many more may be worked on.
type Places = (Mutex<u32>, Condvar);

fn main() {
    let words: Vec<u32> =
        std::env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let [servers, millis, places] = words[..] else { panic!("slow SERVERS MILLISECONDS PLACES") };
    let ports: Vec<String> = (0..servers)
        .map(|number| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let slower = if number + 1 == servers { 10 } else { 1 };
            let work = Duration::from_millis(u64::from(millis * slower));
            let free: Arc<Places> = Arc::new((Mutex::new(places), Condvar::new()));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let free = Arc::clone(&free);
                    std::thread::spawn(move || serve(stream, work, &free));
                }
            });
            port.to_string()
        })
        .collect();
    println!("{}", ports.join(" "));
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}

fn serve(mut stream: TcpStream, work: Duration, (free, freed): &Places) {
    stream.set_nodelay(true).ok();
    let mut buffer = [0; 4096];
    let mut count = 0;
    loop {
        match stream.read(&mut buffer[count..]) {
            Ok(0) | Err(_) => return,
            Ok(read) => count += read,
        }
        if !buffer[..count].ends_with(b"\r\n\r\n") {
            continue;
        }
        count = 0;
        let mut places =
            freed.wait_while(free.lock().expect("no panic"), |free| *free == 0).expect("no panic");
        *places -= 1;
        drop(places);
        std::thread::sleep(work);
        *free.lock().expect("no panic") += 1;
        freed.notify_one();
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, world").is_err() {
            return;
        }
    }
}
