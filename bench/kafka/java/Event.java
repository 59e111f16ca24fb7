/** A HostEvent, as far as the fold needs it. */
final class Event {
    static final int OBSERVED = 16;
    static final int LOADING = 17;
    static final int LOADED = 18;
    static final int DISABLING = 20;
    static final int DISABLED = 21;
    static final int REMOVED = 25;

    final byte[] hostId;
    final long stream;
    final long sequence;
    final int changeField;
    final Proto change;
    final boolean observed;

    Event(Proto event) {
        byte[] hostId = null;
        long stream = 0;
        long sequence = 0;
        int changeField = 0;
        Proto change = null;
        while (event.next()) {
            switch (event.field) {
                case 1 -> hostId = event.bytes();
                case 2 -> stream = event.fixed64();
                case 3 -> sequence = event.varint();
                case 4, 5 -> event.varint();
                default -> {
                    changeField = event.field;
                    change = event.message();
                }
            }
        }
        if (hostId == null || stream == 0 || sequence == 0 || change == null) {
            throw new IllegalArgumentException("an event without host, stream, sequence or change");
        }
        this.hostId = hostId;
        this.stream = stream;
        this.sequence = sequence;
        this.changeField = changeField;
        this.change = change;
        observed = changeField == OBSERVED;
    }
}
