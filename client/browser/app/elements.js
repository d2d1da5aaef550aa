// Elements of a page.

/** An element with a class and a text, if there are any. */
export function make(name, className, text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
