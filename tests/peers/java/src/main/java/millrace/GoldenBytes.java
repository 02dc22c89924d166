package millrace;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Prints messages as Kafka's own client writes them. Input: lines "name lowest highest". Output: lines "name version hex", two for
 * each version. In the first every field of the version holds a value of its own: numbers count up in the order of the wire,
 * strings, bytes and UUIDs are made of the same count, arrays have two elements, the second with null wherever the version allows
 * it. In the second message all is as in a new one, but for null wherever the version allows it. Then lines "error code name retriable" and "api key name".
 */
public final class GoldenBytes {
  private static final String[] PACKAGES = {
    "org.apache.kafka.common.message.",
    "org.apache.kafka.coordinator.group.generated.",
    "org.apache.kafka.coordinator.transaction.generated."
  };

  private int count = 0;

  public static void main(String[] arguments) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    StringBuilder out = new StringBuilder();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] words = line.trim().split(" ");
      for (short version = Short.parseShort(words[1]); version <= Short.parseShort(words[2]); ++version) {
        for (boolean full : new boolean[] {true, false}) {
          out.append(words[0]).append(' ').append(version).append(' ').append(hex(words[0], version, full)).append('\n');
        }
      }
    }
    for (Errors error : Errors.values()) {
      boolean retriable = error.exception() instanceof RetriableException;
      out.append("error ").append(error.code()).append(' ').append(error.name()).append(' ').append(retriable).append('\n');
    }
    for (ApiKeys key : ApiKeys.values()) out.append("api ").append(key.id).append(' ').append(key.name).append('\n');
    System.out.print(out);
  }

  private static String hex(String name, short version, boolean full) throws Exception {
    Class<?> type = find(name);
    Message message = (Message) type.getDeclaredConstructor().newInstance();
    GoldenBytes filler = new GoldenBytes();
    Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
    if (full) {
      filler.fill(message, schemas[version]);
    } else {
      filler.makeNull(message, schemas[version]);
    }
    ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  private static Class<?> find(String name) throws ClassNotFoundException {
    for (String prefix : PACKAGES) {
      for (String suffix : new String[] {"Data", ""}) {
        try {
          return Class.forName(prefix + name + suffix);
        } catch (ClassNotFoundException next) {
          continue;
        }
      }
    }
    throw new ClassNotFoundException(name);
  }

  /** The fields of a version in the order of the wire, the tagged ones last. */
  private static List<Field> fields(Schema schema) {
    List<Field> list = new ArrayList<>();
    Map<Integer, Field> tagged = new TreeMap<>();
    for (BoundField bound : schema.fields()) {
      if (bound.def.type instanceof TaggedFields) {
        tagged.putAll(((TaggedFields) bound.def.type).fields());
      } else {
        list.add(bound.def);
      }
    }
    list.addAll(tagged.values());
    return list;
  }

  private static Method setter(Class<?> owner, String field) {
    String name = "set" + field.replace("_", "");
    for (Method method : owner.getMethods()) {
      if (method.getName().equalsIgnoreCase(name) && method.getParameterCount() == 1) return method;
    }
    throw new IllegalStateException(owner + " has no " + name);
  }

  private void fill(Object target, Schema schema) throws Exception {
    for (Field field : fields(schema)) {
      Method setter = setter(target.getClass(), field.name);
      Type type = setter.getGenericParameterTypes()[0];
      setter.invoke(target, value(type, field.type));
    }
  }

  private void makeNull(Object target, Schema schema) throws Exception {
    for (Field field : fields(schema)) {
      Method setter = setter(target.getClass(), field.name);
      if (field.type.isNullable()) setter.invoke(target, new Object[] {null});
    }
  }

  private Object value(Type type, org.apache.kafka.common.protocol.types.Type wire) throws Exception {
    Class<?> plain = (Class<?>) (type instanceof ParameterizedType ? ((ParameterizedType) type).getRawType() : type);
    if (plain == List.class || Collection.class.isAssignableFrom(plain)) return array(type, plain, wire);
    if (wire instanceof Schema) {
      Object struct = plain.getDeclaredConstructor().newInstance();
      fill(struct, (Schema) wire);
      return struct;
    }
    ++count;
    if (plain == boolean.class) return true;
    if (plain == byte.class || plain == Byte.class) return (byte) count;
    if (plain == short.class) return (short) count;
    if (plain == int.class || plain == Integer.class) return count;
    if (plain == long.class || plain == Long.class) return (1L << 40) + count;
    if (plain == double.class) return count + 0.5;
    if (plain == String.class) return "s" + count;
    if (plain == Uuid.class) return new Uuid(0x0123456789abcdefL, count);
    byte[] bytes = ("bytes " + count).getBytes(StandardCharsets.UTF_8);
    if (plain == byte[].class) return bytes;
    if (plain == ByteBuffer.class) return ByteBuffer.wrap(bytes);
    if (plain == BaseRecords.class) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
    throw new IllegalStateException("no value for " + type);
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private Object array(Type type, Class<?> plain, org.apache.kafka.common.protocol.types.Type wire)
      throws Exception {
    boolean list = plain == List.class;
    Type holder = list ? type : plain.getGenericSuperclass();
    Type element = ((ParameterizedType) holder).getActualTypeArguments()[0];
    Collection values = list ? new ArrayList<>() : (Collection) plain.getDeclaredConstructor().newInstance();
    org.apache.kafka.common.protocol.types.Type elementWire = wire.arrayElementType().get();
    values.add(value(element, elementWire));
    Object second = value(element, elementWire);
    if (elementWire instanceof Schema) makeNull(second, (Schema) elementWire);
    values.add(second);
    return values;
  }
}
