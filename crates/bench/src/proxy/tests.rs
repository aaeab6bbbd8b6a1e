use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use super::{Proxy, Sky};

/// A server that answers everything with the body it got, twice.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let request = super::request::Request::read(&mut client).unwrap();
            let text = String::from_utf8(request.bytes().to_vec()).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
            let length = body.len() * 2;
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}{body}").unwrap();
        }
    });
    address
}

fn ask(proxy: &Proxy) -> String {
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    answer
}

#[test]
fn under_a_clear_sky_everything_passes() {
    let proxy = Proxy::start(echo(), 1).unwrap();
    assert!(ask(&proxy).ends_with("\r\n\r\nhellohello"));
    assert_eq!((proxy.counts().requests, proxy.counts().broken), (1, 0));
}

#[test]
fn bad_weather_breaks_requests() {
    let proxy = Proxy::start(echo(), 1).unwrap();
    proxy.set_sky(Sky::Away);
    assert_eq!(ask(&proxy), "");
    proxy.set_sky(Sky::Throttling);
    let answers: Vec<String> = (0..20).map(|_| ask(&proxy)).collect();
    let throttled =
        answers.iter().filter(|answer| answer.contains("429") && answer.contains("Retry-After: 1"));
    assert!((5..20).contains(&throttled.count()));
    proxy.set_sky(Sky::Expired);
    let answer = ask(&proxy);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden") && answer.contains("ExpiredToken"), "{answer}");
}

#[test]
fn who_watches_gets_every_request() {
    let proxy = Proxy::start(echo(), 1).unwrap();
    let (sender, requests) = std::sync::mpsc::channel();
    proxy.watch(sender);
    ask(&proxy);
    let request = String::from_utf8(requests.recv().unwrap()).unwrap();
    assert!(request.starts_with("PUT /a HTTP/1.1") && request.ends_with("\r\n\r\nhello"), "{request}");
}
