// An app on Node: it tells what it got, as JSON. Argument: its port.
import { createServer } from "node:http";

createServer({ maxHeaderSize: 65536 }, (request, response) => {
  let length = 0;
  request.on("data", (data) => (length += data.length));
  request.on("end", () => {
    if (request.url === "/hints") response.writeEarlyHints({ link: "</style.css>; rel=preload" });
    response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2; Path=/; HttpOnly"]);
    const { method, url, rawHeaders, rawTrailers } = request;
    response.end(JSON.stringify({ method, url, headers: rawHeaders, trailers: rawTrailers, length }));
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
