// The connection to the program: events come, requests go. Addresses are relative, so the token is in all of them.

/** Listens for ever: what is lost is tried again. */
export function listen({ state, frame, open, lost }) {
  const connect = () => {
    const source = new EventSource("frames");
    source.addEventListener("state", (event) => state(JSON.parse(event.data)));
    source.addEventListener("frame", (event) => frame(JSON.parse(event.data)));
    source.onopen = open;
    source.onerror = () => {
      lost();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    };
  };
  connect();
}

/** Asks the program to do something; an Error has its sentence. */
export async function ask(request) {
  let answer;
  try {
    answer = await fetch("do", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
  } catch {
    throw new Error("The program does not answer. Is it still running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `The program answered ${answer.status}.`);
  return found;
}

/** Bytes from base64, into an array that is used again where it fits. */
export function bytes(text, into) {
  const found = atob(text);
  const out = into?.length === found.length ? into : new Uint8Array(found.length);
  for (let i = 0; i < found.length; i++) out[i] = found.charCodeAt(i);
  return out;
}
