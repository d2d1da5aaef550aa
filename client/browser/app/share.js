// The page's address for another device, and what is in its way there.

const byId = (id) => document.getElementById(id);
const NOTES = {
  yes: "Any device that reaches this address can call, if it has the key where one is wanted.",
  no_microphone:
    "A device in the same network opens this page, but its browser gives it no microphone: that needs " +
    "https. Whoever runs the server sets server.tls_certificate, or puts a proxy with https before it.",
  this_machine:
    "Only this machine reaches this address. Whoever runs the server starts it with --host 0.0.0.0, " +
    "a key, and https: without that browsers give no microphone.",
};

/** The dialog of that. */
export class Share {
  constructor() {
    const dialog = byId("share");
    byId("share-done").onclick = () => dialog.close();
    byId("share-copy").onclick = () => this.copy();
    dialog.onclick = ({ target }) => {
      if (target === dialog) dialog.close(); // beside it
    };
  }

  async open() {
    byId("share-copy").textContent = "Copy the address";
    const { address, works } = await told();
    byId("share-address").textContent = byId("share-address").href = address;
    byId("share-note").textContent = NOTES[works] ?? "";
    byId("share-code").src = "share.svg";
    byId("share-code").hidden = works === "this_machine";
    byId("share").showModal();
  }

  async copy() {
    const address = byId("share-address").textContent;
    const isCopied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    byId("share-copy").textContent = isCopied ? "Copied" : "Select the address to copy it";
  }
}

async function told() {
  try {
    return await (await fetch("share", { cache: "no-store" })).json();
  } catch {
    return { address: location.href, works: "" }; // the server is gone, or another one
  }
}
