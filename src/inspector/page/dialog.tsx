import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'

/** Properties of {@link Dialog}. */
export interface DialogProps {
  readonly title: string
  /** Called once it is closed, by whatever means; then it is no longer to be drawn. */
  readonly onClose: () => void
  readonly children: ComponentChildren
  readonly class?: string | undefined
}

/**
 * A dialog above the page, open as long as it is drawn: closed by Escape, its button, or a click beside it. What had the focus has it again afterwards.
 * An element with `autofocus` gets it first.
 */
export function Dialog({ title, onClose, children, class: name = '' }: DialogProps): VNode {
  const dialog = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const element = dialog.current!
    const before = document.activeElement
    element.showModal()
    return () => {
      element.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true })
    }
  }, [])
  return (
    <dialog
      ref={dialog}
      class={name}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      // Keys of the page below are not meant.
      onKeyDown={(event) => {
        event.stopPropagation()
        if (event.key !== 'Escape') return
        event.preventDefault()
        onClose()
      }}
      onMouseDown={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id={heading}>{title}</h2>
          <button type="button" class="plain" aria-label="Close" onClick={onClose}>
            ✕
          </button>
        </div>
        {children}
      </div>
    </dialog>
  )
}
