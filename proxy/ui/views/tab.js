/** What the tabs of a user have in common that show memories in a list, and the chosen one in full. */

import { Detail } from "../detail.js";
import { pending } from "../pending.js";
import { Split } from "../split.js";

export class MemoryTab {
  /** Subclasses make *list*, and may say what a memory was *found* by, and where one *is*, in the address. */
  constructor(memories, pane) {
    this.memories = memories;
    this.scope = memories.scope;
    this.chosen = null; // the id of the memory that is shown in full
    this.detail = null;
    this.split = new Split(pane, { label: "Memory", closed: () => this.closed() });
    this.listener = () => this.changed();
    memories.addEventListener("change", this.listener);
  }

  foundBy() {
    return null;
  }

  /** Writes into the address what is looked at. */
  write() {}

  /** Shows a memory of the list in full. */
  choose(item, { focus = false } = {}) {
    this.chosen = item.id;
    if (this.detail?.memory.id !== item.id || !this.split.open) {
      this.detail = new Detail(this.memories, this.memories.byId.get(item.id) ?? item, this.foundBy(item));
      this.split.show(this.detail.element, { focus });
    } else if (focus) this.split.aside.focus();
    this.list.mark(item.id);
    this.write();
  }

  /** The user's memories have changed, or more of them are there. */
  changed() {
    if (!this.detail || !this.split.open) return;
    const memory = this.memories.byId.get(this.detail.memory.id);
    if (memory) this.detail.update(memory);
    else if (this.memories.complete) this.split.close();
  }

  closed() {
    const key = this.chosen;
    this.chosen = null;
    this.detail = null;
    this.list.mark(null);
    this.write();
    if (key) this.list.show(key, { focus: true });
  }

  /** What is struck out has changed. */
  restrike() {
    this.list.refreshAll();
    this.detail?.paint();
  }

  press(event) {
    const active = this.list.active === null ? null : this.list.find(this.list.active);
    if (event.key === "x" && active) pending.toggle(this.scope, active.id);
    else if (event.key === "u" && pending.size) pending.undo();
    else if (event.key === "e" && active) {
      this.choose(active);
      this.detail.edit();
    } else if (!this.list.press(event)) return false;
    else if (this.split.open && event.key !== "Enter" && event.key !== "o" && !this.split.sheet) {
      // Whoever walks through the list with the details open sees those of where they are.
      const reached = this.list.find(this.list.active);
      if (reached?.id) this.choose(reached);
    }
    return true;
  }

  escape() {
    return this.split.close();
  }

  unmount() {
    this.memories.removeEventListener("change", this.listener);
    this.split.unmount();
  }
}
