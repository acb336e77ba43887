// A modal dialog.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A modal dialog, open while `open` is true. */
export function Modal(props: { open: boolean; label: string; onClose?: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    if (props.open && !dialog?.open) dialog?.showModal();
    if (!props.open && dialog?.open) dialog.close();
  }, [props.open]);
  // Browsers close any dialog with Esc; one that must be answered opens again.
  const reopen = () => props.open && element.current?.showModal();
  return (
    <dialog
      ref={element}
      aria-label={props.label}
      onClose={props.onClose ?? reopen}
    >
      {props.open && props.children}
    </dialog>
  );
}
