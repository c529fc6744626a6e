//! Forms that do not come, or not as they should.

use super::*;

/// Starts a listener that reads every body as a form, `max` at once.
fn reading(max: usize, timeouts: FormTimeouts) -> RunningListener {
    let forms = Arc::new(FormReader::new(max, timeouts));
    RunningListener::reading(ListenerPlan::default(), move |_, _, body| {
        let forms = Arc::clone(&forms);
        async move {
            let read = forms.read(body).await;
            respond(read.map_or_else(|| "[evicted]".to_owned(), |form| format!("[{} bytes]", form.len())))
        }
    })
}

const ENDLESS_FORM: FormTimeouts = FormTimeouts { total: LONG, between_reads: LONG };

async fn half(listener: &RunningListener) -> TcpStream {
    let mut stream = listener.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nhalf of it").await.unwrap();
    stream
}

#[tokio::test]
async fn the_oldest_form_under_way_is_evicted_for_the_next() {
    let listener = reading(2, ENDLESS_FORM);
    let mut halves = Vec::new();
    for _ in 0..2 {
        halves.push(half(&listener).await);
        // Its read has begun once the server has nothing left to read.
        tokio::time::sleep(SHORT).await;
    }
    let whole = listener.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\na=b").await;
    assert!(whole.ends_with("[3 bytes]"), "a form that has arrived whole needs no slot: {whole}");
    let _third = half(&listener).await;
    assert!(read_to_end(&mut halves[0]).await.ends_with("[evicted]"));
    halves[1].write_all(b", and the other 1").await.unwrap();
    assert!(read_to_end(&mut halves[1]).await.ends_with("[27 bytes]"), "the other one is still awaited");
}

#[tokio::test]
async fn a_form_that_stops_coming_or_only_dribbles_is_not_waited_for() {
    let stops = reading(2, FormTimeouts { total: LONG, between_reads: SHORT });
    assert!(read_to_end(&mut half(&stops).await).await.ends_with("[0 bytes]"));

    let dribbles = reading(2, FormTimeouts { total: SHORT * 4, between_reads: LONG });
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
    tokio::select! { response = read_to_end(&mut read) => assert!(response.ends_with("[0 bytes]"), "{response}"), () = dribble => {} }
}
