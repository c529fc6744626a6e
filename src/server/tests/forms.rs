//! Forms that do not come, or not as they should.

use super::*;

/// A server that reads every body as a form, in places for so many.
fn reading(most: usize, pace: Pace) -> Running {
    let forms = Arc::new(Forms::new(most, pace));
    Running::reading(Plan::default(), move |_, _, body| {
        let forms = Arc::clone(&forms);
        async move {
            let read = forms.read(body).await;
            say(read.map_or_else(|| "[gave way]".to_owned(), |form| format!("[{} bytes]", form.len())))
        }
    })
}

const ENDLESSLY: Pace = Pace { whole: LONG, more: LONG };

async fn half(running: &Running) -> TcpStream {
    let mut stream = running.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nhalf of it").await.unwrap();
    stream
}

#[tokio::test]
async fn the_form_that_has_been_under_way_for_longest_gives_way_to_the_next() {
    let running = reading(2, ENDLESSLY);
    let mut halves = Vec::new();
    for _ in 0..2 {
        halves.push(half(&running).await);
        // It has begun once the server has nothing left to read.
        tokio::time::sleep(SHORT).await;
    }
    let whole = running.tell("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\na=b").await;
    assert!(whole.ends_with("[3 bytes]"), "one that is all there needs no place: {whole}");
    let _third = half(&running).await;
    assert!(rest(&mut halves[0]).await.ends_with("[gave way]"));
    halves[1].write_all(b", and the other 1").await.unwrap();
    assert!(rest(&mut halves[1]).await.ends_with("[27 bytes]"), "the other one is still awaited");
}

#[tokio::test]
async fn a_form_that_stops_coming_or_only_dribbles_is_not_waited_for() {
    let stops = reading(2, Pace { whole: LONG, more: SHORT });
    assert!(rest(&mut half(&stops).await).await.ends_with("[0 bytes]"));

    let dribbles = reading(2, Pace { whole: SHORT * 4, more: LONG });
    let mut stream = half(&dribbles).await;
    let (mut read, mut write) = stream.split();
    let dribble = async {
        loop {
            tokio::time::sleep(SHORT).await;
            if write.write_all(b".").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! { said = rest(&mut read) => assert!(said.ends_with("[0 bytes]"), "{said}"), () = dribble => {} }
}
